"""Testing by the name of a benchmark: its counts, its right answers, its name in the report."""

import json

import pytest
import torch

from data.toy.city import make_toy_city
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import save_place_model
from retrieval.test import main

SIZE = (32, 48)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    embedder = Embedder(EmbedderSettings(aggregation="gem", img_size=32))
    directory = tmp_path_factory.mktemp("model") / "gem"
    save_place_model(directory, embedder, SIZE, {})
    return directory


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=35.0, queries=2, size=SIZE)
    return directory


@pytest.fixture
def tested(model, tmp_path, capsys):
    def run(data, *more):
        out = tmp_path / "out"
        arguments = ["--model", str(model), "--data", str(data), "--out", str(out), *more]
        status = main([*arguments, "--device", "cpu"])
        report = out / "recalls.json"
        return (
            status,
            capsys.readouterr().err,
            json.loads(report.read_text()) if status == 0 else {},
        )

    return run


def test_a_town_is_not_pittsburgh(town, tested):
    status, said, _ = tested(town, "--protocol", "pitts30k")
    assert status == 2
    assert "Pitts30k test has 10,000 photos of the database and 6,816 queries, found were" in said
    status, said, report = tested(town, "--protocol", "pitts30k", "--allow_counts")
    assert status == 0
    assert report["protocol"].startswith("NOT Pitts30k (right within 25 m)")
    assert report["radius_m"] == 25


def test_right_answers_by_frames(town, tmp_path, tested):
    """Of two rides of the same photos, a frame answers itself, whatever the untrained model."""
    photos = sorted((town / "images/test/database").iterdir())[::2][:6]
    for folder in ("database", "queries"):
        ride = tmp_path / "ride/images/test" / folder
        ride.mkdir(parents=True)
        for number, photo in enumerate(photos):
            (ride / f"Image{number:03d}.jpg").write_bytes(photo.read_bytes())
    ride = tmp_path / "ride"
    status, said, report = tested(
        ride, "--protocol", "frames", "--frames", "0", "--save_panels", "1"
    )
    assert status == 0
    assert "a set of numbered frames (right within 0 frames), 6 queries" in said
    assert (report["frames"], report["recalls"]["R@1"]["percent"]) == (0, 100.0)
    assert (tmp_path / "out/panels/00000.png").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--frames", "2"], "go with --protocol"),
        (["--protocol", "pitts30k", "--no_labels"], "leave out --no_labels"),
        (["--protocol", "msls_val"], "goes with --split val"),
        (["--protocol", "pits"], "pits is none of pitts30k"),
    ],
)
def test_wrong_flags(flags, said, tested, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tested(tmp_path, *flags)
    assert said in capsys.readouterr().err

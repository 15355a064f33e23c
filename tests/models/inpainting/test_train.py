"""Training of inpainting: it learns, resumes exactly, stops at NaN, refuses bad input."""

import json
import shutil

import numpy as np
import pytest
import simplejpeg
import torch
from safetensors.torch import load_file

from models.inpainting.inpainter import load_inpainter
from models.inpainting.painting_run import PaintingRun
from models.inpainting.photos import HoledPhotos
from models.inpainting.train import main
from models.training.checkpoint import checkpoints_in, step_path

TINY = [
    *("--width", "4", "--depth", "2", "--size", "32", "--batch", "2", "--features", "none"),
    *("--steps", "4", "--frozen_steps", "2", "--save_every", "2", "--device", "cpu"),
    *("--lr", "1e-2", "--frozen_lr", "1e-2"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten smooth pictures, one of them in a folder."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (folder / "more").mkdir()
    for number in range(10):
        ends = random.uniform(0, 255, (2, 3))
        ramp = np.linspace(ends[0], ends[1], 40 + number).astype(np.uint8)
        rgb = np.ascontiguousarray(np.broadcast_to(ramp[:, None], (40 + number, 50, 3)))
        place = folder / "more" if number == 3 else folder
        (place / f"{number}.jpg").write_bytes(simplejpeg.encode_jpeg(rgb))
    return folder


def run(photos, out, *more):
    return main(["--photos", str(photos), "--out", str(out), *TINY, *more])


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(photos, out) == 0
    return out


def test_what_a_run_leaves(whole):
    assert {path.name for path in whole.iterdir()} == {
        *("model.safetensors", "config.json", "README.md", "checkpoints"),
        *("history.csv", "samples.png", "held_out.json"),
    }
    figures = json.loads((whole / "held_out.json").read_text())
    assert figures["photos"] == 2
    assert figures["mean_colour_l1"] > 0
    lines = (whole / "history.csv").read_text().splitlines()
    assert lines[0].startswith("step,valid,hole,variation,total,hole_l1")
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "4", "6"]
    assert len(list((whole / "checkpoints").iterdir())) == 2
    assert load_inpainter(whole).network.settings.depth == 2


@pytest.mark.parametrize("stopped_after", [3, 5], ids=["first phase", "second phase"])
def test_a_killed_run_resumed_ends_in_the_same_weights(
    photos, whole, tmp_path, monkeypatch, stopped_after
):
    advance = PaintingRun.advance

    def interrupted(self, *batch):
        if self.step == stopped_after:
            raise KeyboardInterrupt
        return advance(self, *batch)

    monkeypatch.setattr(PaintingRun, "advance", interrupted)
    assert run(photos, tmp_path) == 130
    assert not (tmp_path / "model.safetensors").exists()
    monkeypatch.setattr(PaintingRun, "advance", advance)
    assert run(photos, tmp_path, "--resume") == 0
    weights, expected = (load_file(f / "model.safetensors") for f in (tmp_path, whole))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert (tmp_path / "history.csv").read_text() == (whole / "history.csv").read_text()


def test_time_that_is_up_stops_a_run_that_can_go_on(photos, tmp_path, capsys):
    assert run(photos, tmp_path, "--minutes", "1e-9") == 0
    assert "stopped after 1 steps: go on by --resume" in capsys.readouterr().out
    assert checkpoints_in(tmp_path / "checkpoints") == [step_path(tmp_path / "checkpoints", 1)]
    assert load_inpainter(tmp_path).sha256


def test_the_second_phase_leaves_the_encoders_norms_alone(photos, whole, tmp_path):
    assert run(photos, tmp_path, "--frozen_steps", "0") == 0
    first, second = (load_file(f / "model.safetensors") for f in (tmp_path, whole))
    norms = [name for name in first if "norm" in name]
    same = {name for name in norms if torch.equal(first[name], second[name])}
    assert same == {name for name in norms if name.startswith("encoder")}


def test_a_loss_that_is_no_number_stops_and_names_the_photos(photos, tmp_path, capsys):
    assert run(photos, tmp_path, "--lr", "1e30") == 2
    error = capsys.readouterr().err
    assert "the loss became" in error
    assert ".jpg" in error
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--resume"], "no checkpoint"),
        (["--photos", "/nowhere"], "no folder /nowhere"),
        (["--features", "vit_tiny_patch16_224", "--no-pretrained"], "no maps at 1/2"),
        (["--device", "nonsense"], "--device"),
    ],
)
def test_what_cannot_be_trained_says_why(photos, tmp_path, capsys, more, message):
    assert run(photos, tmp_path, *more) == 2
    assert message in capsys.readouterr().err


def test_a_run_is_neither_overwritten_nor_mixed(photos, whole, tmp_path, capsys):
    before = (whole / "model.safetensors").read_bytes()
    assert run(photos, whole) == 2
    assert "holds a run: go on with it by --resume" in capsys.readouterr().err
    assert run(photos, whole, "--resume", "--batch", "3") == 2
    assert "was begun with --batch 2" in capsys.readouterr().err
    others = shutil.copytree(photos, tmp_path / "others")
    (others / "4.jpg").rename(others / "40.jpg")  # other photos would be held out
    assert run(others, whole, "--resume") == 2
    assert "was begun on other photos (photos: 10 photos (list" in capsys.readouterr().err
    assert (whole / "model.safetensors").read_bytes() == before


def test_photos_that_cannot_be_read_are_named_and_others_stand_in(photos, tmp_path, capsys):
    paths = [tmp_path / "broken.jpg", photos / "0.jpg"]
    paths[0].write_bytes(b"\xff\xd8\xff nonsense")
    batches = HoledPhotos(paths, 32, (0.1, 0.2))
    assert torch.isfinite(batches.one(0, 0)[0].float()).all()
    assert list(batches.refused) == [str(paths[0])]
    assert "left out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="none of 1 photos can be read"):
        HoledPhotos(paths[:1], 32, (0.1, 0.2)).one(0, 0)


def test_every_photo_comes_once_before_any_comes_again(photos):
    batches = HoledPhotos(sorted(photos.rglob("*.jpg")), 32, (0.1, 0.2), seed=4)
    rows = [row for step in range(5) for row in batches.rows_of(step, 4)]
    assert sorted(row for row, _ in rows[:10]) == list(range(10))
    assert sorted(row for row, _ in rows[10:]) == list(range(10))
    assert len(set(rows)) == 20


def test_an_epochs_order_is_drawn_once(monkeypatch, tmp_path):
    photos = HoledPhotos([tmp_path / f"{i}.jpg" for i in range(10)], 32, (0.1, 0.2), seed=4)
    orders = [np.random.default_rng((4, epoch)).permutation(10).tolist() for epoch in range(2)]
    draw, seeds = np.random.default_rng, []
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or draw(seed))
    rows = [row for step in range(5) for row in photos.rows_of(step, 4)]
    assert rows == [(row, epoch) for epoch, order in enumerate(orders) for row in order]
    assert seeds == [(4, 0), (4, 1)]
    assert photos.rows_of(2, 4) == rows[8:12]  # of two epochs, and asked for out of turn


@pytest.mark.parametrize("flags", [["--width", "0"], ["--hole_share", "0.5", "0.2"]])
def test_wrong_flags_end_with_usage(photos, tmp_path, flags):
    with pytest.raises(SystemExit) as end:
        run(photos, tmp_path, *flags)
    assert end.value.code == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_half_a_minute_of_training_beats_the_mean_colour_on_unseen_photos(tmp_path):
    """SYNTHETIC photos; run by `make slow`. 360 steps take 36 s of one core."""
    from data.toy.city import make_toy_city

    make_toy_city(tmp_path / "city", blocks=(2, 2), step_m=20.0, queries=20, size=(80, 112))
    code = main([
        *("--photos", str(tmp_path / "city"), "--out", str(tmp_path / "run"), "--device", "cpu"),
        *("--width", "16", "--depth", "4", "--size", "64", "--batch", "8", "--features", "none"),
        *("--steps", "300", "--frozen_steps", "60", "--lr", "2e-3", "--frozen_lr", "5e-4"),
    ])  # fmt: skip
    assert code == 0
    figures = json.loads((tmp_path / "run" / "held_out.json").read_text())
    assert figures["high"] < 0, figures
    assert figures["hole_l1"] < 0.8 * figures["mean_colour_l1"], figures

"""Shares of buildings: from maps exactly, and from a light network that learned to tell them."""

import json
import os
import shutil

import numpy as np
import pytest
import simplejpeg
import torch
from safetensors.torch import load_file

from data.photos.journal import PhotoJournal
from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg
from data.seg_maps.stored_maps import StoredMaps, write_classes
from models.building import training as building_share_training
from models.building.model import ShareRegressor, load_share_model
from models.building.sources import (
    MapShares,
    Measured,
    SegmenterShares,
    building_classes,
    building_share,
)
from models.building.training import judge, spearman
from models.building_share import label, main
from models.segmentation.segmenter import Segmenter

os.environ.setdefault("HF_HUB_OFFLINE", "1")
CLASSES = SegClasses(("wall", "building;edifice", "sky"), ((0, 0, 0), (9, 9, 9), (0, 0, 255)), "me")
TINY = [
    *("--backbone", "test_resnet", "--no-pretrained", "--size", "32", "--epochs", "2"),
    *("--batch", "8", "--device", "cpu", "--lr", "1e-2"),
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """24 SYNTHETIC photos, red where a building is, with their maps; one cannot be read."""
    folder, random = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    write_classes(folder / "maps", CLASSES)
    for number in range(24):
        seg = np.full((36, 48), 2, np.uint8)
        seg[36 - int(random.integers(37)) :] = 1
        rgb = np.where((seg == 1)[..., None], (200, 40, 30), (90, 140, 240)).astype(np.uint8)
        (folder / "photos" / f"{number:02}.jpg").write_bytes(simplejpeg.encode_jpeg(rgb))
        (folder / "maps" / f"{number:02}.png").write_bytes(encode_seg(seg, CLASSES))
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


def test_a_share_is_counted_pixel_by_pixel():
    seg = np.random.default_rng(0).integers(0, 5, (13, 7), dtype=np.uint8)
    hits = sum(seg[y, x] in (1, 4) for y, x in np.ndindex(seg.shape))
    assert building_share(seg, [1, 4]) == hits / 91
    with pytest.raises(ValueError, match="without pixels"):
        building_share(np.empty((0, 5), np.uint8), [1])


def test_walls_windows_and_doors_are_no_buildings():
    ade = ("wall", "building, edifice", "sky", "house", "windowpane, window", "skyscraper",
           "door, double door", "tower", "fence, fencing")  # fmt: skip
    assert building_classes(ade) == [1, 3, 5, 7]
    assert building_classes(("road", "building", "wall")) == [1]
    assert building_classes(ade, ("wall", "door")) == [0, 6]
    with pytest.raises(ValueError, match="no class is called castle"):
        building_classes(ade, ("wall", "castle"))


def test_maps_tell_shares_and_a_missing_one_is_said(labelled):
    photos = labelled / "photos"
    source = MapShares(StoredMaps(labelled / "maps", photos))
    found = list(source.measure([photos / "03.jpg", photos / "broken.jpg"]))
    assert found[0].share == building_share(source.maps.of(photos / "03.jpg"), [1])
    assert found[1].share is None
    assert "no map" in found[1].error


def test_a_network_tells_shares_of_its_own_maps(labelled, tiny_segformer):
    segmenter = Segmenter.load(str(tiny_segformer), "cpu")
    paths = [labelled / "photos" / name for name in ("01.jpg", "broken.jpg", "02.jpg")]
    found = list(SegmenterShares(segmenter, batch=2).measure(paths))
    assert [one.path for one in found] == paths
    assert found[1].share is None
    assert "broken.jpg" in found[1].error
    for one in (found[0], found[2]):
        rgb = simplejpeg.decode_jpeg(one.path.read_bytes())
        (seg,) = segmenter.maps([rgb])
        assert one.share == np.mean(seg == 2)  # its "building"


@pytest.fixture(scope="module")
def run(labelled):
    """Train on the labelled photos: `run(out, more flags)`."""
    given = ["--photos", str(labelled / "photos"), "--maps", str(labelled / "maps")]
    return lambda out, *more: main(["train", *given, "--out", str(out), *TINY, *more])


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(out) == 0
    return out


def test_what_a_run_leaves(whole, labelled):
    figures = json.loads((whole / "held_out.json").read_text())
    assert figures["photos"] == 5
    facts = PhotoJournal(whole / "shares.jsonl", json.loads(
        (whole / "shares.jsonl").read_text().splitlines()[0])["header"]).facts  # fmt: skip
    assert len(facts) == 25
    assert "no map" in facts["broken.jpg"]["error"]
    model = load_share_model(whole, "cpu")
    paths = sorted((labelled / "photos").iterdir())
    found = list(model.measure(paths))
    assert [one.path for one in found] == paths
    assert all(0 <= one.share <= 1 for one in found[:-1])
    assert found[-1].share is None
    assert "broken.jpg" in found[-1].error or "damaged" in found[-1].error


def test_a_photo_is_judged_the_same_in_any_batch(whole, labelled):
    paths = sorted((labelled / "photos").iterdir())[:8]
    together = [one.share for one in load_share_model(whole, "cpu").measure(paths)]
    alone = [one.share for one in load_share_model(whole, "cpu", batch=1).measure(paths)]
    assert alone == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("stop", ["labelling", "training"])
def test_a_stopped_run_goes_on_and_ends_alike(run, whole, tmp_path, monkeypatch, stop):
    with monkeypatch.context() as patch:
        if stop == "labelling":
            patch.setattr(
                PhotoJournal, "note", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
            )
        else:
            save = building_share_training._save

            def interrupted(*arguments):
                save(*arguments)
                raise KeyboardInterrupt

            patch.setattr(building_share_training, "_save", interrupted)
        assert run(tmp_path) == 130
    assert run(tmp_path) == 2  # not without --resume
    assert run(tmp_path, "--resume") == 0
    weights, expected = (load_file(f / "model.safetensors") for f in (tmp_path, whole))
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


class ByLength:
    """Tells a share of each file's length and remembers which it was asked for."""

    source = "lengths"

    def __init__(self):
        self.asked = []

    def measure(self, paths):
        for path in paths:
            self.asked.append(path.name)
            yield Measured(path, len(path.read_bytes()) / 10)


def test_a_photo_that_has_changed_is_measured_again(tmp_path):
    photos, source = tmp_path / "photos", ByLength()
    photos.mkdir()
    paths = [photos / name for name in ("a.jpg", "b.jpg", "c.jpg")]
    for path in paths:
        path.write_bytes(b"one")

    def labelled():
        source.asked.clear()
        shares = label(paths, photos, source, tmp_path / "shares.jsonl")
        return list(shares.values()), source.asked

    assert labelled() == ([0.3, 0.3, 0.3], ["a.jpg", "b.jpg", "c.jpg"])
    assert labelled() == ([0.3, 0.3, 0.3], [])
    paths[0].write_bytes(b"longer")
    changed = paths[1].stat().st_mtime_ns + 10**9
    os.utime(paths[1], ns=(changed, changed))  # as long as before
    assert labelled() == ([0.6, 0.3, 0.3], ["a.jpg", "b.jpg"])
    assert labelled()[1] == []


def test_another_folder_with_the_same_names_is_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"one")
    journal = tmp_path / "shares.jsonl"
    label([tmp_path / "one" / "a.jpg"], tmp_path / "one", ByLength(), journal)
    with pytest.raises(ValueError, match=r"begun otherwise \(photos: .*one, now .*two\)"):
        label([tmp_path / "two" / "a.jpg"], tmp_path / "two", ByLength(), journal)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["a photo more", "another share"])
def test_a_training_does_not_go_on_with_other_photos(
    run, labelled, tmp_path, monkeypatch, capsys, what
):
    own = shutil.copytree(labelled, tmp_path / "own")
    flags = ["--photos", str(own / "photos"), "--maps", str(own / "maps"), "--epochs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(building_share_training, "judge", interrupted)
        assert run(tmp_path / "run", *flags) == 130
    photo, seg = own / "photos" / "03.jpg", own / "maps" / "03.png"
    if what == "a photo more":
        shutil.copy(photo, own / "photos" / "99.jpg")
        shutil.copy(seg, own / "maps" / "99.png")
        told = "photos: 24 photos (list "
    else:
        seg.write_bytes(encode_seg(np.ones((36, 48), np.uint8), CLASSES))
        os.utime(photo, ns=(0, 0))
        told = "their shares: "
    assert run(tmp_path / "run", *flags, "--resume") == 2
    assert f"was begun on other photos ({told}" in capsys.readouterr().err


def test_weights_that_cannot_be_had_are_replaced_by_chance_and_said(run, tmp_path, capsys):
    assert run(tmp_path, "--pretrained", "--epochs", "1") == 0
    assert "starting from random weights" in capsys.readouterr().err
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["origin"]["start"] == "random weights"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--backbone", "nonsense"], "unknown backbone"),
        (["--classes", "castle"], "no class is called castle"),
        (["--epochs", "0"], "positive"),
        (["--photos", "/nowhere"], "no folder /nowhere"),
    ],
)
def test_what_cannot_be_learned_from_says_why(run, tmp_path, capsys, more, message):
    assert run(tmp_path, *more) == 2
    assert message in capsys.readouterr().err


def test_directories_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"models\.building_share train"):
        load_share_model(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "something else"}')
    with pytest.raises(ValueError, match="another kind"):
        load_share_model(tmp_path)


def test_it_starts_without_an_opinion():
    logits = ShareRegressor("test_resnet", 32)(torch.randint(0, 256, (2, 3, 32, 32)).byte())
    assert logits.tolist() == pytest.approx([logits[0].item()] * 2)


def by_definition(a, b):
    """Pearson's correlation of ranks, which count the smaller ones and half of the equal ones."""
    ranks = [[sum(x < y for x in v) + (v.count(y) + 1) / 2 for y in v] for v in (a, b)]
    return np.corrcoef(ranks)[0, 1]


def test_rank_correlation_is_that_of_its_definition():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 6, 30), random.integers(0, 6, 30)  # with ties
    assert spearman(a, b) == pytest.approx(by_definition(a.tolist(), b.tolist()))
    assert spearman(np.arange(9.0), np.arange(9.0) ** 3) == pytest.approx(1)
    assert spearman(np.arange(9.0), -np.arange(9.0)) == pytest.approx(-1)
    assert spearman(np.ones(4), np.arange(4.0)) == 0


def test_figures_of_a_perfect_and_of_a_shifted_answer():
    truth = np.linspace(0, 0.8, 20)
    perfect, shifted = judge(truth, truth, 0.4), judge(truth + 0.1, truth, 0.4)
    assert (perfect["mae"], perfect["spearman"]) == (0, pytest.approx(1))
    assert shifted["mae"] == pytest.approx(0.1)
    assert shifted["mae_interval"] == pytest.approx([0.1, 0.1])
    assert shifted["mae_of_the_mean"] == pytest.approx(np.abs(truth - 0.4).mean())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_learns_shares_of_unseen_photos(tmp_path):
    """SYNTHETIC town with exact maps; run by `make slow`. 45 s of one core."""
    from data.toy.truth import CityShape, make_mapped_city

    city, maps, out = tmp_path / "city", tmp_path / "maps", tmp_path / "run"
    shape = CityShape((2, 2), 20.0, 100, (80, 112))
    make_mapped_city(city, maps, shape, splits=("train",))
    given = ["--photos", str(city), "--maps", str(maps), "--out", str(out), "--device", "cpu"]
    network = ["--backbone", "efficientnet_lite0", "--size", "96", "--epochs", "6"]
    assert main(["train", *given, *network]) == 0
    figures = json.loads((out / "held_out.json").read_text())
    assert figures["spearman_interval"][0] > 0.9, figures
    assert figures["mae"] < 0.3 * figures["mae_of_the_mean"], figures

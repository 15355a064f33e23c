"""Leaks that were planted are found, each by its own check; a clean set has none."""

import json
import math

import numpy as np
import pytest
import simplejpeg
import utm
from PIL import Image

from data.place_sets.names import PlaceName
from retrieval import leak_audit
from retrieval.leaks.copies import byte_copies, difference_hash, picture_copies
from retrieval.leaks.descriptors import ASSUMED, near_duplicates, threshold_of
from retrieval.leaks.groups import near_splits, shared_groups
from retrieval.leaks.pairs import finding
from retrieval.leaks.photos import SplitPhotos, read_splits
from retrieval.leaks.report import markdown, write_report

START_M = {"train": 0.0, "val": 20_000.0, "test": 40_000.0}


def scene(seed, height=96, width=128):
    """A picture with structure of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def places(tmp_path):
    """A clean set: six photos a split, 200 m from each other, splits 20 km apart."""
    for number, (split, start) in enumerate(START_M.items()):
        for i in range(6):
            put(tmp_path, split, start + 200 * i, scene(100 * number + i), f"{split}{i}")
    return tmp_path


def put(root, split, east, pixels, pano="", quality=90, data=None):
    name = str(PlaceName(400_000 + east, 5_000_000.0, 32, "T", pano_id=pano, note=f"{quality}"))
    path = root / "images" / split / "database" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality))
    return path


def vectors_of(count, dim=16, seed=0):
    found = np.random.default_rng(seed).standard_normal((count, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_a_clean_set_has_no_leak(places):
    photos = read_splits(places)
    vectors = vectors_of(len(photos.paths))
    checks = [
        byte_copies(photos),
        picture_copies(photos),
        near_duplicates(vectors, photos, threshold_of(vectors, photos)),
        shared_groups(photos, "panorama"),
        near_splits(photos, 25),
    ]
    assert not any(found.is_leak or found.count for found in checks)
    assert checks[-1].facts["train-val least distance, m"] == 19_000


def test_the_same_file_in_two_splits(places):
    first = read_splits(places).paths[0]
    put(places, "val", 9000, None, "copy", data=first.read_bytes())
    put(places, "train", 9000, None, "within", data=first.read_bytes())  # in one split: no leak
    photos = read_splits(places)
    found = byte_copies(photos)
    assert found.is_leak
    assert found.by_splits == {"train-val": 2}
    assert {photos.paths[pair.b].name.split("@")[7] for pair in found.pairs} == {"copy"}


def test_a_picture_saved_anew_smaller_and_worse(places):
    small = np.asarray(Image.fromarray(scene(3)).resize((80, 60), Image.Resampling.BILINEAR))
    put(places, "test", 9000, small, "again", quality=60)
    photos = read_splits(places)
    assert not byte_copies(photos).is_leak
    found = picture_copies(photos)
    assert found.count == 1
    assert photos.splits[[found.pairs[0].a, found.pairs[0].b]].tolist() == ["train", "test"]


def test_pictures_without_contrast_have_no_hash(tmp_path):
    grey = put(tmp_path, "train", 0, np.full((90, 120, 3), 90, np.uint8))
    assert difference_hash(grey) is None
    broken = put(tmp_path, "train", 9, None, data=b"no picture")
    assert difference_hash(broken) is None
    unlike = [difference_hash(put(tmp_path, "train", 99 + i, scene(i))) for i in range(6)]
    apart = [int((a != b).sum()) for i, a in enumerate(unlike) for b in unlike[:i]]
    assert min(apart) > 60


def test_the_threshold_is_half_way_from_different_places_to_identity():
    photos = made_up(40)
    vectors = vectors_of(80)
    found = threshold_of(vectors, photos)
    alike = []
    for row in range(80):
        for split in ("train", "test"):
            rows = photos.rows_of(split)
            if row in rows:
                others = [r for r in rows if abs(r - row) * 200 > 100]
                alike.append(max(float(vectors[row] @ vectors[r]) for r in others))
    reference = np.quantile(alike, 0.99)
    assert found.reference == pytest.approx(reference, abs=1e-5)
    assert found.cosine == pytest.approx(1 - (1 - reference) / 2, abs=1e-5)
    assert found.compared == 80
    assert found.above == sum(value >= found.cosine for value in alike)


def test_near_duplicates_by_descriptor(places):
    photos = read_splits(places)
    vectors = vectors_of(len(photos.paths))
    nudged = vectors[2] + 0.02 * vectors[5]
    vectors[14] = nudged / np.linalg.norm(nudged)
    vectors[9] = 0  # unreadable
    found = near_duplicates(vectors, photos, threshold_of(vectors, photos))
    assert [(pair.a, pair.b) for pair in found.pairs] == [(2, 14)]
    assert found.facts["unreadable"] == 1
    assert near_duplicates(vectors, photos, threshold_of(vectors, photos, given=0.99999)).count == 0


def test_mistaken_positions_do_not_hide_leaks():
    photos = made_up(400)
    vectors = vectors_of(800)
    vectors[3] = vectors[90]  # one photo twice in its split, far apart
    vectors[500] = vectors[7]
    found = near_duplicates(vectors, photos, threshold_of(vectors, photos))
    assert [(pair.a, pair.b) for pair in found.pairs] == [(7, 500)]


def test_without_two_places_in_a_split_the_threshold_is_assumed():
    photos = made_up(1)
    found = threshold_of(vectors_of(2), photos)
    assert found.cosine == ASSUMED
    assert "assumed" in str(found)


def made_up(count):
    east = 200.0 * np.arange(count)
    utm_m = np.column_stack([np.concatenate([east, east + 1e6]), np.zeros(2 * count)])
    splits = np.array(["train"] * count + ["test"] * count, object)
    return SplitPhotos([None] * 2 * count, splits, utm_m, np.full(2 * count, 32), {})


def test_authors_sequences_and_panoramas_in_two_splits(places):
    put(places, "val", 9000, scene(70), "train0")  # the name comes again 9 km away
    put(places, "val", 5, scene(71), "train1")
    put(places, "val", 202, scene(72), "train1")  # 2 m from train1
    photos = read_splits(places)
    table = places / "facts.csv"
    rows = [f"{path.name},{'ann' if i in (0, 8) else f'a{i}'},s{i // 4}"
            for i, path in enumerate(photos.paths)]  # fmt: skip
    table.write_text("\n".join(["file,author,sequence", *rows]))
    photos = read_splits(places, table)
    author = shared_groups(photos, "author")
    assert author.is_leak
    assert [pair.text for pair in author.pairs] == ["author ann"]
    assert not shared_groups(photos, "author", is_allowed=True).is_leak
    sequences = shared_groups(photos, "sequence")
    assert [pair.text for pair in sequences.pairs] == ["sequence s1", "sequence s3"]
    panorama = shared_groups(photos, "panorama")
    assert [pair.text for pair in panorama.pairs] == ["panorama train1"]
    assert photos.apart_m(*(np.array([row]) for row in panorama.pairs[0][:2])) == 2
    assert panorama.facts["same_name_elsewhere"] == 1


def test_the_same_ground_in_two_splits(places):
    put(places, "test", 400 + 20, scene(80), "t")
    found = near_splits(read_splits(places), 25)
    assert found.count == 1
    assert found.pairs[0].text == "20.0 m apart"
    assert near_splits(read_splits(places), 19).count == 0


def put_at(root, split, lat, lon, seed):
    """A photo at a position, named in the position's own zone."""
    east, north, zone, letter = utm.from_latlon(lat, lon)
    path = root / "images" / split / "database" / str(PlaceName(east, north, zone, letter))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(scene(seed)), quality=90))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ((48.0, 11.9999), (48.0, 12.0001)),  # zones 32 and 33
        ((-33.0, 11.9999), (-33.0, 12.0001)),  # likewise in the south
        ((10.0, 179.9999), (10.0, -179.9999)),  # zones 60 and 1
        ((75.0, 8.9997), (75.0, 9.0003)),  # zones 31 and 33: there is no 32 in Svalbard
        ((-0.0001, 9.0), (0.0001, 9.0)),  # one zone, on both sides of the equator
    ],
)
def test_the_same_ground_across_a_border_of_zones(tmp_path, train, test):
    """Against arcs of the two radii of curvature of the ellipsoid (WGS 84) at the place."""
    put_at(tmp_path, "train", *train, 1)
    put_at(tmp_path, "test", *test, 2)
    put_at(tmp_path, "test", test[0] + 1, test[1], 3)
    photos = read_splits(tmp_path)
    squeezed = 1 - 0.00669438 * math.sin(math.radians(test[0])) ** 2
    north = 6378137 * (1 - 0.00669438) / squeezed**1.5 * math.radians(test[0] - train[0])
    turn = math.radians((test[1] - train[1] + 180) % 360 - 180)
    east = 6378137 / squeezed**0.5 * math.cos(math.radians(test[0])) * turn
    apart = math.hypot(north, east)
    assert 10 < apart < 40
    found = near_splits(photos, apart * 1.001)
    assert (found.count, found.is_leak) == (1, True)
    told = found.facts["train-test least distance, m"]
    assert told == pytest.approx(apart, abs=0.006 * apart + 0.1)
    pair = (np.array([row]) for row in found.pairs[0][:2])
    assert photos.apart_m(*pair)[0] == pytest.approx(told, abs=0.01)
    assert near_splits(photos, apart * 0.95).count == 0


def test_zones_that_are_unknown_are_compared_with_none(tmp_path):
    for split, zone in (("train", 32), ("test", None), ("val", 99)):
        path = tmp_path / "images" / split / "database" / str(PlaceName(400_000, 5e6, zone, "T"))
        path.parent.mkdir(parents=True)
        path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(scene(1))))
    found = near_splits(read_splits(tmp_path), 25)
    assert found.count == 0
    assert set(found.facts.values()) == {"no common zone"}


def test_a_table_of_other_photos_and_a_single_split_are_refused(places, tmp_path_factory):
    table = places / "facts.csv"
    table.write_text("file,author\nother.jpg,ann\n")
    with pytest.raises(ValueError, match="no row names a photo"):
        read_splits(places, table)
    alone = tmp_path_factory.mktemp("alone")
    put(alone, "train", 0, scene(1))
    with pytest.raises(ValueError, match="needs photos in two"):
        read_splits(alone)


def test_the_report_names_each_pair_and_draws_them(places, tmp_path):
    photos = read_splits(places)
    found = finding("same file", "What.", byte_copies(photos).pairs, photos)
    write_report(tmp_path / "clean", photos, [found], {"data": "x"})
    assert not (tmp_path / "clean" / "worst.png").exists()
    assert "no leak found" in (tmp_path / "clean" / "report.md").read_text()
    put(places, "val", 9000, None, "copy", data=photos.paths[0].read_bytes())
    photos = read_splits(places)
    found = byte_copies(photos)
    write_report(tmp_path / "leaking", photos, [found], {})
    assert json.loads((tmp_path / "leaking" / "report.json").read_text())["is_leaking"]
    assert "LEAK: same file" in markdown(photos, [found], {})
    assert Image.open(tmp_path / "leaking" / "worst.png").width > 300


def test_the_command_ends_with_1_at_a_leak_and_0_without(places, tmp_path, monkeypatch, capsys):
    from models.places.embedder import Embedder

    # Random weights: what is tested is the command, and ImageNet's take seconds to load.
    monkeypatch.setattr(Embedder.__init__, "__defaults__", (False,))
    monkeypatch.setattr(leak_audit, "SIZE", (32, 32))
    flags = ["--data", str(places), "--output", str(tmp_path / "out"), "--device", "cpu"]
    given = ["--threshold", "0.999999"]  # random weights tell nothing apart
    assert leak_audit.main([*flags, *given]) == 0
    assert "no leak found" in capsys.readouterr().out
    put(places, "test", 9000, scene(0), "copy")
    assert leak_audit.main([*flags, *given]) == 1
    assert "LEAK: same file" in capsys.readouterr().out
    assert not (tmp_path / "out" / "descriptors").exists()
    assert leak_audit.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "error: " in capsys.readouterr().err

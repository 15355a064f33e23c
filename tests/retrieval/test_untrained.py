"""Untrained features on sets of places and on labelled photos."""

import csv

import numpy as np
import pytest
import simplejpeg

from data.toy.city import make_toy_city
from retrieval.untrained import main, ranks_of
from retrieval.untrained_sets import PhotoSet, set_of_labels


@pytest.fixture
def labelled(tmp_path):
    """Five photos: a twice, b twice, c once; the two of a place are nearly the same."""
    random = np.random.default_rng(0)
    scenes = {name: random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for name in "abc"}
    table = tmp_path / "labels.csv"
    lines = ["img_id,place"]
    for name in ("a_0", "a_1", "b_0", "b_1", "c_0"):
        picture = np.clip(scenes[name[0]] + random.integers(-3, 4, (64, 64, 3)), 0, 255)
        jpg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture.astype(np.uint8)), quality=95)
        (tmp_path / f"{name}.jpg").write_bytes(jpg)
        lines.append(f"{name},{name[0]}")
    table.write_text("\n".join(lines))
    return table


def test_a_query_is_never_its_own_answer():
    described = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.6, 0.4]], np.float32)
    rows = np.arange(4)
    positives = [np.array([3]), np.array([2]), np.array([1]), np.array([0])]
    photos = PhotoSet("x", [], rows, rows, positives)
    distances = ((described[:, None] - described) ** 2).sum(2)
    expected = []
    for query in range(4):
        order = [row for row in np.argsort(distances[query]) if row != query]
        expected.append(order.index(positives[query][0]))
    assert ranks_of(photos, described).tolist() == expected == [1, 2, 1, 1]


def test_labelled_photos_and_places(labelled, tmp_path, capsys):
    make_toy_city(tmp_path / "town", (1, 1), step_m=35.0, queries=3, size=(32, 48))
    arguments = ["--data", str(tmp_path / "town"), "--labels", str(labelled)]
    arguments += ["--images", str(labelled.parent), "--output", str(tmp_path / "out")]
    arguments += ["--backbones", "efficientnet_lite0", "--aggregations", "gem"]
    assert main([*arguments, "--img_size", "64", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "- town: 3 queries" in said
    assert "- labels: 4 queries, 5 photos in the database, 1 queries left out" in said
    town, labels = csv.DictReader((tmp_path / "out/untrained.csv").open())
    assert (town["set"], town["R@1 n"]) == ("town", "3")
    assert (labels["R@1 hits"], labels["R@1 n"]) == ("4", "4")
    assert "| labels | efficientnet_lite0 | gem | 112 | 100 [51, 100] (4/4) |" in said


def test_bad_tables(labelled, tmp_path):
    with pytest.raises(ValueError, match="has no z_9 to leave out"):
        set_of_labels(labelled, tmp_path, ("z_9",))
    with pytest.raises(ValueError, match="no place has two photos"):
        set_of_labels(labelled, tmp_path, ("a_1", "b_1"))
    (tmp_path / "c_0.jpg").unlink()
    with pytest.raises(ValueError, match="no photo c_0 in"):
        set_of_labels(labelled, tmp_path)
    labelled.write_text("img_id\na_0")
    with pytest.raises(ValueError, match="needs the columns img_id and place"):
        set_of_labels(labelled, tmp_path)

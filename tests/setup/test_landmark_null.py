"""The permutation test of the landmark photographs, on features that we make."""

import numpy as np
import pandas as pd
import pytest

import setup.landmark_null as landmark_null
from setup.demonstration.leave_one_out import Photos
from setup.landmark_null import Hits, count_all, count_hits, describe, folds, judge, permuted

CENTRES = ((48.0, 2.0), (35.0, 110.0), (-20.0, -50.0))


def made_photos(signal, places=18, seed=0):
    """Two photos a place, places in three regions; features tell the region as far as `signal`."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(0, 1, (3, 12))
    rows, features = [], []
    for place in range(places):
        lat, lon = CENTRES[place % 3] + rng.normal(0, 3, 2)
        for view in range(2):
            rows.append((f"p{place}_{view}", f"p{place}", lat, lon, f"author {place // 6}", ""))
            features.append(signal * directions[place % 3] + rng.normal(0, 1, 12))
    table = pd.DataFrame(rows, columns=["img_id", "place", "lat", "lon", "author", "near_view"])
    x = np.array(features, np.float32)
    return Photos(table, x, x)


def test_no_photo_of_the_place_is_known():
    photos = made_photos(0)
    table, answered = photos.table, []
    for train, held in folds(photos, other_authors=False):
        assert table.place[held].nunique() == 1
        assert not set(table.place[train]) & set(table.place[held])
        assert len(train) + len(held) == len(table)
        answered += held.tolist()
    assert sorted(answered) == list(range(len(table)))


def test_nor_any_by_its_photographers():
    photos = made_photos(0)
    for train, held in folds(photos, other_authors=True):
        assert not set(photos.table.author[train]) & set(photos.table.author[held])
    alone = Photos(photos.table.assign(author="one"), photos.summaries, photos.descriptors)
    with pytest.raises(ValueError, match="without p0 no photo is left"):
        next(folds(alone, other_authors=True))


def test_a_permutation_moves_places_whole():
    photos = made_photos(1)
    before, after = photos.table, permuted(photos, 7).table
    assert after.groupby("place")[["lat", "lon"]].nunique().eq(1).all(axis=None)
    assert sorted(after.lat) == sorted(before.lat)
    assert (after.lat != before.lat).mean() > 0.8
    pairs = set(zip(before.lat, before.lon, strict=True))
    assert set(zip(after.lat, after.lon, strict=True)) == pairs
    pd.testing.assert_frame_equal(permuted(photos, 7).table, after)
    pd.testing.assert_frame_equal(permuted(photos, 0).table, before)


@pytest.fixture
def thresholds(monkeypatch):
    monkeypatch.setattr("setup.demonstration.leave_one_out.THRESHOLDS", dict.fromkeys(
        ("coarse", "middle", "fine"), (1, 40)))  # fmt: skip


def test_features_that_tell_the_region_beat_chance(thresholds):
    photos = made_photos(4, places=9)
    found = judge([count_hits(photos, False, draw) for draw in range(4)], "within")
    assert found["p"] == 1 / 4
    assert found["percent"] > 85
    assert found["null_mean"] < 65  # the same features tell nothing of places dealt out anew


def test_judge_counts():
    """By hand: of nulls 1, 5, 7, 9 two reach the 7 seen, so (1 + 2) / (1 + 4)."""
    counts = [Hits(i, hits, 0, 10) for i, hits in enumerate([7, 1, 5, 7, 9])]
    found = judge(counts, "within")
    assert found["p"] == 3 / 5
    assert found["at_least_as_good"] == 2
    assert found["percent"] == pytest.approx(70)
    assert found["null_mean"] == pytest.approx(55)
    assert "NOT more than chance" in describe("within", found)
    with pytest.raises(ValueError, match="--draws"):
        judge(counts[:1], "within")


def test_permutations_that_are_done_are_kept(tmp_path, monkeypatch):
    asked = []

    def counted(photos, other_authors, draw):
        asked.append(draw)
        return Hits(draw, draw, 0, len(photos.table))

    monkeypatch.setattr(landmark_null, "count_hits", counted)
    monkeypatch.setattr("setup.engine.cores", lambda: 1)
    path = tmp_path / "null.csv"
    first = count_all(made_photos(0), False, 2, path)
    assert asked == [0, 1, 2]
    more = count_all(made_photos(0), False, 4, path)
    assert asked == [0, 1, 2, 3, 4]
    assert more[:3] == first
    with pytest.raises(ValueError, match="of other photos"):
        count_all(made_photos(0, places=4), False, 4, path)
    path.write_text("draw,within\n1,2\n")
    with pytest.raises(ValueError, match="not a list of permutations"):
        count_all(made_photos(0), False, 4, path)


def test_without_photos(tmp_path, capsys):
    flags = ["--output", str(tmp_path), "--photos", str(tmp_path / "none")]
    assert landmark_null.main(flags) == 2
    assert "python -m setup.landmarks" in capsys.readouterr().err

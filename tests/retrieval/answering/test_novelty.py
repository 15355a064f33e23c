"""Standouts and p-values: against a loop, and valid where the query's place is not there."""

import numpy as np
import pytest

from partitioning.geodesy import haversine_km
from retrieval.answering import novelty as novelty_module
from retrieval.answering.novelty import COHORT_BEST, PLACE_RADIUS_M, Novelty
from retrieval.gallery import Gallery
from retrieval.search import search


def far(gallery, i, j):
    km = haversine_km(gallery.lat[i], gallery.lon[i], gallery.lat[j], gallery.lon[j])
    return km * 1000 > PLACE_RADIUS_M


def mean_of_best(scores):
    return sum(sorted(scores)[-COHORT_BEST:]) / len(sorted(scores)[-COHORT_BEST:])


def wrong_standouts_by_loop(gallery, cohort):
    """Photo by photo, score by score, from the definition."""
    rows = gallery.descriptors.astype(np.float64)
    found = []
    for i in cohort:
        elsewhere = [j for j in range(len(gallery)) if far(gallery, i, j)]
        if not elsewhere:
            continue
        best = max(elsewhere, key=lambda j: rows[i] @ rows[j])
        others = [j for j in cohort if far(gallery, i, j) and far(gallery, best, j)]
        if others:
            found.append(rows[i] @ rows[best] - mean_of_best([rows[i] @ rows[j] for j in others]))
    return sorted(found)


@pytest.fixture
def street(model_sha256):
    """A gallery of `places` with `views` photos each, some metres apart, and a maker of queries."""

    def make(places=40, views=3, dim=16, spread=0.7, seed=0):
        rng = np.random.default_rng(seed)
        lat, lon = rng.uniform(-60, 60, places), rng.uniform(-180, 180, places)
        look = rng.standard_normal((places, dim))
        of = np.repeat(np.arange(places), views)
        gallery = Gallery.in_memory(
            look[of] + spread * rng.standard_normal((len(of), dim)),
            lat[of] + rng.uniform(-1e-4, 1e-4, len(of)),
            lon[of],
            [{"key": f"{i}"} for i in range(len(of))],
            model_sha256,
        )

        def stranger():
            query = rng.standard_normal(dim) + spread * rng.standard_normal(dim)
            return query / np.linalg.norm(query)

        return gallery, stranger

    return make


def p_of(novelty, query):
    best = search(novelty.gallery, query, 1)
    standout = novelty.standout(query, int(best.rows[0]), float(best.scores[0]))
    return novelty.p_value(standout)


def test_standout_and_wrong_standouts_equal_the_loop(street):
    gallery, stranger = street()
    novelty = Novelty(gallery)
    expected = wrong_standouts_by_loop(gallery, range(len(gallery)))
    np.testing.assert_allclose(novelty.wrong_standouts, expected, atol=1e-5)
    query = stranger()
    for row in (0, 17, 119):
        others = [j for j in range(len(gallery)) if far(gallery, row, j)]
        scores = [float(gallery.descriptors[j].astype(np.float64) @ query) for j in others]
        assert novelty.standout(query, row, 0.9) == pytest.approx(
            0.9 - mean_of_best(scores), abs=1e-5
        )


def test_a_gallery_larger_than_the_cohort_is_searched_whole(street, monkeypatch):
    monkeypatch.setattr(novelty_module, "COHORT_PHOTOS", 30)
    monkeypatch.setattr(novelty_module, "BLOCK_ROWS", 7)
    gallery, _ = street()
    cohort = np.linspace(0, len(gallery) - 1, 30).round().astype(int)
    np.testing.assert_allclose(
        Novelty(gallery).wrong_standouts, wrong_standouts_by_loop(gallery, cohort), atol=1e-5
    )
    monkeypatch.setattr(novelty_module, "MAX_PAIRS", 1)
    monkeypatch.setattr(novelty_module, "FEWEST_PROBES", 11)
    assert len(Novelty(gallery).wrong_standouts) == 11


def test_p_value_counts_wrong_matches_at_least_as_high(street):
    novelty = Novelty(street()[0])
    wrong = novelty.wrong_standouts
    for standout in (-1.0, wrong[0], wrong[5], (wrong[5] + wrong[6]) / 2, wrong[-1], 9.0):
        at_least = sum(1 for other in wrong if other >= standout)
        assert novelty.p_value(standout) == (1 + at_least) / (1 + len(wrong))
    assert novelty.p_value(9.0) == novelty.smallest_p_value == 1 / 121
    assert novelty.p_value(float("nan")) == 1


@pytest.mark.parametrize("cohort", [1000, 60], ids=["whole", "cohort of a fifth"])
def test_strangers_are_accepted_no_more_often_than_promised(street, monkeypatch, cohort):
    monkeypatch.setattr(novelty_module, "COHORT_PHOTOS", cohort)
    accepted = {0.05: [], 0.2: []}
    for seed in range(12):
        gallery, stranger = street(places=300, views=1, seed=seed)
        novelty = Novelty(gallery)
        p_values = np.array([p_of(novelty, stranger()) for _ in range(60)])
        for level, found in accepted.items():
            found.append(np.mean(p_values <= level))
    for level, found in accepted.items():
        error = np.std(found) / np.sqrt(len(found))
        assert np.mean(found) <= level + 3 * error
        assert np.mean(found) >= level / 3, "valid but useless"


def test_photos_of_a_place_in_the_gallery_are_accepted(street):
    gallery, _ = street(spread=0.1)
    novelty = Novelty(gallery)
    views = gallery.descriptors.astype(np.float64)
    assert np.mean([p_of(novelty, view) <= 0.05 for view in views]) == 1


@pytest.mark.parametrize("photos", [1, 8])
def test_a_gallery_of_one_place_proves_nothing(street, photos):
    gallery, stranger = street(places=1, views=photos)
    novelty = Novelty(gallery)
    assert np.isnan(novelty.standout(stranger(), 0, 0.99))
    assert len(novelty.wrong_standouts) == 0
    assert p_of(novelty, stranger()) == 1 == novelty.smallest_p_value


def test_saved_standouts_are_read_back_and_damaged_ones_refused(tmp_path):
    rng = np.random.default_rng(3)
    lat, lon = rng.uniform(-60, 60, 40), rng.uniform(-170, 170, 40)
    photos = [{"key": str(i)} for i in range(40)]
    vectors = rng.normal(size=(40, 16))
    gallery = Gallery.create(tmp_path / "g", vectors, lat, lon, photos, "0" * 64)
    measured = Novelty(gallery).wrong_standouts
    Novelty(gallery).save()
    (stored,) = (tmp_path / "g").glob("wrong_standouts_*.json")
    np.testing.assert_array_equal(Novelty(gallery).wrong_standouts, measured)
    stored.write_text("[0.5, 0.75]")
    assert Novelty(gallery).wrong_standouts.tolist() == [0.5, 0.75]
    assert len(Novelty(gallery, place_radius_m=50.0).wrong_standouts) == len(measured)
    for damaged in ("[0.75, 0.5]", "[NaN]", "[", "{}", "[" * 100_000, f"[{10**400}]"):
        stored.write_text(damaged)
        with pytest.raises(ValueError, match="damaged"):
            _ = Novelty(gallery).wrong_standouts

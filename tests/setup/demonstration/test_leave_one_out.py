"""The street demo's protocol: what a query may see, what counts as known, what is counted."""

import numpy as np
import pandas as pd
import pytest

from retrieval.evaluate import wilson_interval
from setup.demonstration.leave_one_out import Photos, first_rank, fit_world, leave_one_out
from setup.demonstration.street_demo import query_rows
from setup.demonstration.street_report import summarise


@pytest.fixture(scope="module")
def photos():
    """Clear clusters: 24 synthetic places, seven with two views; one pair is a near-copy."""
    rng = np.random.default_rng(0)
    rows, centres = [], rng.normal(size=(24, 48))
    for place in range(24):
        lat, lon = rng.uniform(-50, 60), rng.uniform(-170, 170)
        for view in range(2 if place < 7 else 1):
            near = "p6_0" if (place, view) == (6, 1) else ""
            rows.append((f"p{place}_{view}", f"p{place}", lat, lon, near, place))
    table = pd.DataFrame(rows, columns=["img_id", "place", "lat", "lon", "near_view", "n"])
    table = table.assign(author="somebody", licence="CC0-1.0", source_url="")
    vectors = centres[table.n] + rng.normal(0, 0.15, (len(table), 48))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Photos(table, vectors.astype(np.float32), unit.astype(np.float32))


@pytest.fixture(scope="module")
def outcomes(photos):
    return list(leave_one_out(photos))


def test_a_query_sees_neither_itself_nor_its_near_copies(photos):
    ids = photos.table.img_id
    for row in range(len(ids)):
        seen = set(ids.iloc[photos.others(row)])
        assert ids[row] not in seen
    near = ids.tolist().index("p6_1")
    assert "p6_0" not in set(ids.iloc[photos.others(near)])
    assert "p6_1" not in set(ids.iloc[photos.others(ids.tolist().index("p6_0"))])


def test_known_are_those_with_another_view(outcomes):
    known = {o.img_id for o in outcomes if o.known}
    assert known == {f"p{place}_{view}" for place in range(6) for view in range(2)}


def test_clear_clusters_are_found_and_strangers_refused(outcomes):
    assert all(o.rank == 0 for o in outcomes if o.known)
    accepted = [o for o in outcomes if o.known and o.fix.level == "street"]
    assert len(accepted) >= 10
    assert all(o.fix_km < 0.01 for o in accepted)
    assert sum(o.fix.level == "street" for o in outcomes if not o.known) <= 3


def test_answers_of_cells_ignore_the_gallery(outcomes):
    assert any(o.cells_km != o.fix_km for o in outcomes if o.known)
    assert all(o.prior_km >= 0 for o in outcomes)


def test_calibration_is_fitted_on_every_photo_once(photos):
    assert fit_world(photos).world.calibration.photos == len(photos.table)


def test_figures_are_the_counts(outcomes):
    figures = summarise(outcomes)
    known = [o for o in outcomes if o.known]
    assert figures["known"] == 12
    assert figures["unknown"] == len(outcomes) - 12
    hits = sum(o.fix_km <= 25 for o in known)
    row = figures["within_km"]["known: cells and gallery"]["25"]
    assert (row["hits"], row["n"]) == (hits, 12)
    low, high = wilson_interval(hits, 12)
    assert (row["low"], row["high"]) == (100 * low, 100 * high)
    refused = figures["unknown refused"]
    assert refused["hits"] == sum(o.fix.level != "street" for o in outcomes if not o.known)


def test_held_out_queries_are_one_view_of_each_place_and_some_single_ones(photos):
    held = set(photos.table.img_id.iloc[query_rows(photos.table)])
    assert {f"p{place}_1" for place in range(6)} <= held
    assert not any(f"p{place}_0" in held for place in range(6))
    assert {"p6_0", "p6_1"}.isdisjoint(held)
    assert len(held) == 6 + 17 // 4


def test_first_rank():
    assert first_rank(["a", "b", "c"], {"c", "b"}) == 1
    assert first_rank(["a"], set()) == -1

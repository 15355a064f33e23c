"""Mined triplets against a loop: the best positive, the hardest negatives, none of them near."""

import math

import numpy as np
import pytest

from data.places import Photos, Places
from retrieval.training.mining import METHODS, Miner, MiningSettings, rarity_weights


def photos(utm):
    return Photos([None] * len(utm), np.asarray(utm, float), np.full(len(utm), 32))


@pytest.fixture
def town():
    """A database along a road of 400 m, queries beside it, and fixed descriptors of both."""
    rng = np.random.default_rng(0)
    database = np.stack([np.linspace(0, 400, 101), np.zeros(101)], axis=1)
    queries = np.stack([rng.uniform(0, 400, 30), np.full(30, 3.0)], axis=1)
    places = Places.of(photos(database), photos(queries), 10, drop_without_positive=True)
    describe = [rng.normal(size=(n, 8)).astype(np.float32) for n in (len(places.queries), 101)]
    unit = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in describe]
    return places, unit[0], unit[1]


def settings(method, **changes):
    return MiningSettings(**{"method": method, "queries": 12, "negatives": 4, "pool": 40} | changes)


def mined(town, method, rounds=1, **changes):
    places, query_descriptors, database_descriptors = town
    weights = np.ones(len(places.queries)) if method == "msls_weighted" else None
    miner = Miner(places, settings(method, **changes), query_weights=weights)
    asked = []

    def describe_database(rows):
        asked.append(rows)
        return database_descriptors[rows]

    for _ in range(rounds):
        triplets = miner.mine(lambda rows: query_descriptors[rows], describe_database)
    return triplets, asked


@pytest.mark.parametrize("method", METHODS)
def test_the_positive_is_the_nearest_in_descriptors_within_ten_metres(town, method):
    places, query_descriptors, database_descriptors = town
    triplets, _ = mined(town, method)
    assert len(set(triplets.queries.tolist())) == 12
    for query, positive in zip(triplets.queries, triplets.positives, strict=True):
        scores = {
            row: float(query_descriptors[query] @ database_descriptors[row])
            for row in range(101)
            if math.dist(places.queries.utm_m[query], places.database.utm_m[row]) <= 10
        }
        assert positive == max(scores, key=scores.get)


@pytest.mark.parametrize("method", METHODS)
def test_no_negative_is_within_25_metres_and_none_is_there_twice(town, method):
    places = town[0]
    for seed_round in (1, 3):
        triplets, _ = mined(town, method, rounds=seed_round)
        assert triplets.negatives.shape == (12, 4)
        for query, negatives in zip(triplets.queries, triplets.negatives, strict=True):
            assert len(set(negatives.tolist())) == 4
            for row in negatives:
                assert math.dist(places.queries.utm_m[query], places.database.utm_m[row]) > 25


def test_a_full_pool_gives_the_hardest_of_the_whole_database(town):
    places, query_descriptors, database_descriptors = town
    for method in ("full", "partial", "msls_weighted"):
        triplets, _ = mined(town, method, pool=1000)
        for query, negatives in zip(triplets.queries, triplets.negatives, strict=True):
            far = [
                row
                for row in range(101)
                if math.dist(places.queries.utm_m[query], places.database.utm_m[row]) > 25
            ]
            far.sort(key=lambda row: -float(query_descriptors[query] @ database_descriptors[row]))
            assert negatives.tolist() == far[:4]


def test_full_mining_remembers_the_hardest(town):
    _, query_descriptors, database_descriptors = town

    def hardness(rounds):
        triplets, _ = mined(town, "full", rounds=rounds, queries=100, pool=8)
        order = np.argsort(triplets.queries)
        negatives = database_descriptors[triplets.negatives[order]]
        return np.einsum("qd,qnd->q", query_descriptors[triplets.queries[order]], negatives)

    first, later = hardness(1), hardness(12)
    assert (later >= first - 1e-6).all()
    assert later.mean() > first.mean() + 0.2


def test_only_full_mining_describes_the_whole_database(town):
    assert len(mined(town, "full")[1][0]) == 101
    assert len(mined(town, "partial", pool=5)[1][0]) < 101
    positives = town[0].positives
    triplets, asked = mined(town, "random")
    near = np.unique(np.concatenate([positives.of(query) for query in triplets.queries]))
    assert asked[0].tolist() == near.tolist()


def test_rare_queries_are_drawn_more_often(town):
    places, query_descriptors, database_descriptors = town
    rare = np.zeros(len(places.queries), bool)
    rare[:2] = True
    weights = rarity_weights([rare])
    assert weights[0] == pytest.approx(1 + len(rare) / 2)
    assert weights[5] == 1
    miner = Miner(places, settings("msls_weighted", queries=1), query_weights=weights)
    drawn = [
        int(
            miner.mine(lambda r: query_descriptors[r], lambda r: database_descriptors[r]).queries[0]
        )
        for _ in range(300)
    ]
    share = sum(rare[query] for query in drawn) / 300
    assert share == pytest.approx(weights[rare].sum() / weights.sum(), abs=0.1)


def test_what_cannot_be_mined_is_refused(town):
    places = town[0]
    with pytest.raises(ValueError, match="mining must be one of full, partial"):
        MiningSettings("hardest")
    with pytest.raises(ValueError, match="pool at least negatives"):
        MiningSettings(pool=5, negatives=10)
    with pytest.raises(ValueError, match="fewer than 99 negatives"):
        Miner(places, MiningSettings(negatives=99))
    with pytest.raises(ValueError, match="one weight for each query"):
        Miner(places, settings("msls_weighted"))
    with pytest.raises(ValueError, match="positive numbers"):
        Miner(places, settings("msls_weighted"), query_weights=np.zeros(len(places.queries)))
    lonely = Places.of(photos([[0, 0]]), photos([[0, 0], [100, 0]]), 10)
    with pytest.raises(ValueError, match="without a positive"):
        Miner(lonely, settings("full"))

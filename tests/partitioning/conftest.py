"""Positions that are hard for S2, and s2sphere's answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import s2sphere


def oracle_ids(lat, lon, level=30):
    """Ids by the pure-Python library, one point at a time."""
    points = zip(np.asarray(lat).tolist(), np.asarray(lon).tolist(), strict=True)
    leaves = [s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*p)) for p in points]
    return np.array([leaf.parent(level).id() for leaf in leaves], np.uint64)


def naive_partition(lat, lon, t_min, t_max, min_level=2, max_level=30):
    """The algorithm in its plainest form: s2sphere and a dictionary of the photos in each cell."""
    leaves = [s2sphere.CellId(int(i)) for i in oracle_ids(lat, lon)]
    todo = {}
    for row, leaf in enumerate(leaves):
        todo.setdefault(leaf.parent(min_level).id(), []).append(row)
    kept = {}
    while todo:
        cell, rows = todo.popitem()
        level = s2sphere.CellId(cell).level()
        if len(rows) > t_max and level < max_level:
            for row in rows:
                todo.setdefault(leaves[row].parent(level + 1).id(), []).append(row)
        elif len(rows) >= t_min:
            kept[cell] = rows
    return kept


def clustered_positions(num, seed=0):
    """Positions in towns of unequal size all over the globe, some of them at its seams."""
    rng = np.random.default_rng(seed)
    towns = np.stack([np.degrees(np.arcsin(rng.uniform(-1, 1, 60))), rng.uniform(-180, 180, 60)], 1)
    towns[:6] = [[89.9, 10], [-89.9, 10], [0, 180], [35.26, 45], [0, 0], [45, 90]]
    share = rng.pareto(0.7, 60) + 0.05
    town = rng.choice(60, num, p=share / share.sum())
    lat = np.clip(towns[town, 0] + rng.normal(0, 0.2, num), -90, 90)
    lon = (towns[town, 1] + rng.normal(0, 0.2, num) + 180) % 360 - 180
    return lat, lon


@pytest.fixture(scope="session")
def oracle():
    return SimpleNamespace(ids=oracle_ids, partition=naive_partition)


@pytest.fixture(scope="session")
def towns():
    return clustered_positions(6000)


@pytest.fixture(scope="session")
def positions():
    return clustered_positions

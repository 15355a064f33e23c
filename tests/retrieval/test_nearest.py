"""Search in chunks against the whole matrix of distances."""

import tracemalloc

import numpy as np
import pytest

from retrieval import nearest as module
from retrieval.nearest import nearest


def brute(queries, database, k):
    squares = ((queries[:, None].astype(float) - database[None].astype(float)) ** 2).sum(axis=2)
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squares, order, axis=1)


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    return random.normal(size=(37, 12)).astype(np.float32), random.normal(size=(501, 12)).astype(
        np.float32
    )


@pytest.mark.parametrize("rows", [1, 100, 500, 10_000])
def test_chunks_give_what_the_whole_gives(vectors, rows, monkeypatch):
    queries, database = vectors
    monkeypatch.setattr(module, "CHUNK_BYTES", rows * 12 * 4)
    monkeypatch.setattr(module, "QUERY_BYTES", 10 * 12 * 4)
    found = nearest(queries, database, 7)
    expected, squares = brute(queries, database, 7)
    assert (found.rows == expected).all()
    np.testing.assert_allclose(found.distances, squares, rtol=1e-4, atol=1e-4)


def test_equal_rows_come_by_number_whatever_the_chunks(monkeypatch):
    database = np.tile(np.eye(3, dtype=np.float32), (4, 1))
    for rows in (1, 2, 5, 12):
        monkeypatch.setattr(module, "CHUNK_BYTES", rows * 3 * 4)
        found = nearest(np.eye(3, dtype=np.float32)[:1], database, 4)
        assert found.rows.tolist() == [[0, 3, 6, 9]]


def test_rows_left_out_are_no_answers(vectors, monkeypatch):
    queries, database = vectors
    monkeypatch.setattr(module, "CHUNK_BYTES", 50 * 12 * 4)
    best = nearest(queries, database, 1).rows[:, 0]
    without = nearest(queries, database, 5, left_out=np.unique(best))
    assert not np.isin(without.rows, best).any()
    kept = np.setdiff1d(np.arange(501), best)
    assert (without.rows == kept[brute(queries, database[kept], 5)[0]]).all()


def test_a_database_smaller_than_k_is_padded(vectors):
    queries, database = vectors
    found = nearest(queries, database[:3], 5, left_out=np.array([1]))
    assert (found.rows[:, 2:] == -1).all()
    assert np.isinf(found.distances[:, 2:]).all()
    assert set(found.rows[:, :2].ravel().tolist()) == {0, 2}


def test_a_memory_map_is_never_in_memory_whole(tmp_path, monkeypatch):
    database = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float16, (40_000, 64))
    database[:] = np.random.default_rng(0).normal(size=(40_000, 64))
    monkeypatch.setattr(module, "CHUNK_BYTES", 2000 * 64 * 4)
    queries = np.asarray(database[::4000], np.float32)
    tracemalloc.start()
    found = nearest(queries, np.load(tmp_path / "rows.npy", mmap_mode="r"), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.rows[:, 0].tolist() == list(range(0, 40_000, 4000))
    assert peak < 40_000 * 64 * 4 / 4  # a quarter of the whole as float32


def test_what_cannot_be_searched_is_refused(vectors):
    queries, database = vectors
    for bad in ((queries, database, 0), (queries[:0], database, 1), (queries, database[:0], 1)):
        with pytest.raises(ValueError, match=r"must be 1 or more|cannot be searched"):
            nearest(*bad)
    with pytest.raises(ValueError, match="cannot be searched"):
        nearest(queries[:, :5], database, 1)

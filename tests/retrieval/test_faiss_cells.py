"""The batch searcher finds what an exact scan finds."""

import subprocess
import sys

import numpy as np
import pytest

from partitioning import s2
from retrieval.faiss_cells import FaissCells
from retrieval.search import search


@pytest.fixture
def cells(gallery):
    return np.unique(s2.parents(gallery.leaf_ids, 3))


@pytest.mark.parametrize("width", [1, 3])
def test_batches_find_what_the_exact_search_finds(gallery, cells, width):
    rng = np.random.default_rng(width)
    queries = 3 * rng.standard_normal((40, 16))
    gates = np.stack([rng.permutation(len(cells))[:width] for _ in range(40)])
    gates[5, -1] = -1
    batch = FaissCells(gallery, cells).search(queries, gates, 15)
    for query, gate, rows, scores in zip(queries, gates, *batch, strict=True):
        exact = search(gallery, query, 15, cells[gate[gate >= 0]])
        found = len(exact.rows)
        np.testing.assert_allclose(scores[:found], exact.scores, atol=2e-6)
        # Twins tie: the rows may differ where the scores do not.
        assert len(set(rows[:found].tolist())) == found
        distinct = np.abs(exact.scores[:, None] - exact.scores[None]).min(
            axis=1, where=~np.eye(found, dtype=bool), initial=9
        )
        keep = distinct > 1e-5
        np.testing.assert_array_equal(rows[:found][keep], exact.rows[keep])
        assert (rows[found:] == -1).all()
        assert (scores[found:] == -np.inf).all()


def test_one_cell_each_may_be_flat(gallery, cells):
    searcher = FaissCells(gallery, cells)
    queries = np.random.default_rng(0).standard_normal((len(cells), 16))
    flat = searcher.search(queries, np.arange(len(cells)), 3)
    wide = searcher.search(queries, np.arange(len(cells))[:, None], 3)
    np.testing.assert_array_equal(flat.rows, wide.rows)


def test_overlapping_cells_are_refused(gallery, cells):
    with pytest.raises(ValueError, match="overlap"):
        FaissCells(gallery, [*cells, s2.parents(cells[:1], 2)[0]])


@pytest.mark.parametrize(
    ("queries", "gates", "message"),
    [
        (np.ones((2, 15)), [0, 1], "do not fit"),
        (np.ones((2, 16)), np.empty((2, 0)), "do not fit"),
        (np.ones((2, 16)), [0, 10**6], "numbered 0 to"),
        (np.ones((2, 16)), [-2, 0], "numbered 0 to"),
        (np.ones((1, 16)), [[3, 3]], "twice"),
        (np.zeros((1, 16)), [0], "zero"),
    ],
)
def test_bad_batches_are_refused(gallery, cells, queries, gates, message):
    with pytest.raises(ValueError, match=message):
        FaissCells(gallery, cells).search(queries, gates, 3)


def test_the_single_photo_path_does_not_import_faiss_or_torch():
    code = (
        "import sys, retrieval.search, retrieval.gallery, retrieval.evaluate\n"
        "heavy = {'faiss', 'torch', 'pandas', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""A resident searcher for many queries a second: faiss inverted lists that ARE the geocells.

The gallery's float16 rows are the codes of faiss's float16 scalar quantiser as they stand, so they
are copied into one inverted list per cell, nothing is trained, and a query scans just the lists of
its gate (https://github.com/facebookresearch/faiss/wiki/Faiss-indexes, "preassigned" search). Worth
its memory (512 bytes a row at 256 values) and faiss's import where queries come in batches, as in
evaluation or mining; a single photo is answered by search.py.
"""

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.gallery import Gallery


class BatchMatches(NamedTuple):
    """Gallery rows of each query, best first, int64 (N, k), and cosines, float32 (N, k).

    Where a gate holds fewer than k photos the row is -1 and the score -inf.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class FaissCells:
    """Search in fixed, disjoint cells, such as the fine cells of a partition.

    Scores are float32 sums: matches closer than their rounding, some 1e-6, may change places. One
    thread at a time may search; faiss spreads a batch over its own threads.

    Args:
        gallery: whose rows are copied; rows in none of the cells are not found.
        cell_ids: S2 cells uint64 (C,), none within another.

    Raises:
        ValueError: cells that overlap, or ids that are no cells.
    """

    def __init__(self, gallery: Gallery, cell_ids: ArrayLike) -> None:
        ranges = gallery.slices(cell_ids)
        ascending = ranges[np.argsort(ranges[:, 0], kind="stable")]
        if np.any(ascending[1:, 0] < ascending[:-1, 1]):
            raise ValueError("the cells overlap: give the cells of one level of a partition")
        self.num_cells, self.dim = len(ranges), gallery.dim
        # The quantiser would assign queries to lists; our classifier does that, so it stays empty.
        self._quantizer = faiss.IndexFlatIP(gallery.dim)
        self._index = faiss.IndexIVFScalarQuantizer(
            self._quantizer,
            gallery.dim,
            self.num_cells,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,  # no residuals: a code is the row itself
        )
        self._index.is_trained = True
        lists: Any = self._index.invlists
        for cell, (first, last) in enumerate(ranges.tolist()):
            codes = np.array(gallery.descriptors[first:last]).view(np.uint8)
            rows = np.arange(first, last)
            lists.add_entries(cell, last - first, faiss.swig_ptr(rows), faiss.swig_ptr(codes))
        self._index.ntotal = int((ranges[:, 1] - ranges[:, 0]).sum())

    def search(self, queries: ArrayLike, cells: ArrayLike, k: int) -> BatchMatches:
        """The k best rows of each query in the cells of its gate.

        Args:
            queries: descriptors (N, dim) of any length but zero.
            cells: positions in `cell_ids`, (N, P) or (N,) for one cell each; -1 is no cell.
            k: matches per query.

        Raises:
            ValueError: shapes that do not fit, a cell that is not there, a query without direction.
        """
        vectors = np.ascontiguousarray(queries, dtype=np.float32)
        gates = np.ascontiguousarray(np.asarray(cells, dtype=np.int64).reshape(len(vectors), -1))
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or gates.shape[1] == 0 or k < 1:
            raise ValueError(
                f"queries {vectors.shape}, cells {gates.shape} and k = {k} do not fit a gallery of "
                f"{self.dim} values a descriptor"
            )
        if gates.size and not -1 <= gates.min() <= gates.max() < self.num_cells:
            raise ValueError(f"cells are numbered 0 to {self.num_cells - 1}, or -1 for none")
        ascending = np.sort(gates, axis=1)
        if np.any((ascending[:, 1:] == ascending[:, :-1]) & (ascending[:, 1:] >= 0)):
            raise ValueError("a gate names a cell twice: its photos would come twice")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise ValueError("a query descriptor is NaN, infinite or zero")
        self._index.nprobe = gates.shape[1]
        # Wrapped in Python at import, which the type stubs of the C++ class do not know.
        search_preassigned: Any = self._index.search_preassigned
        scores, rows = search_preassigned(
            vectors / norms, k, gates, np.zeros(gates.shape, np.float32)
        )
        scores[rows < 0] = -np.inf
        return BatchMatches(rows, scores)

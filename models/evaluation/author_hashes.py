"""Whose photos a model was trained on, as hashes beside its bundle: authors.npy.

Test photos by an author of the training photos are easier: same camera, same trips, same street
(field notes on YFCC4k: from over 30% to 19.7% within 25 km once they are left out). So a test
counts the others apart. Hashes, because a bundle need not list names to be able to recognise them;
they hide no name from someone who guesses it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partitioning.atomic_file import atomic_path

FILE = "authors.npy"


def author_hashes(authors: Iterable[str]) -> NDArray[np.uint64]:
    """First 8 bytes of each author's SHA-256, in the order given; author "" is 0."""
    return np.array(
        [
            int.from_bytes(hashlib.sha256(author.encode()).digest()[:8]) if author else 0
            for author in authors
        ],
        dtype=np.uint64,
    )


def write_author_hashes(bundle: Path, authors: Iterable[str]) -> int:
    """Write the authors of the training photos into a bundle; return how many there are."""
    known = np.unique(author_hashes({author for author in authors if author}))
    with atomic_path(bundle / FILE) as temporary, temporary.open("wb") as file:
        np.save(file, known, allow_pickle=False)
    return len(known)


def is_new_author(authors: Iterable[str], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which photos have an author that is known and not among the training authors, `(N,)`."""
    hashes = author_hashes(authors)
    return (hashes != 0) & ~np.isin(hashes, known)


def read_author_hashes(bundle: Path) -> NDArray[np.uint64] | None:
    """The training authors that a bundle remembers, sorted; None where it does not.

    Raises:
        ValueError: its file is damaged.
    """
    path = bundle / FILE
    if not path.is_file():
        return None
    try:
        known = np.load(path, allow_pickle=False)
        if known.dtype != np.uint64 or known.ndim != 1:
            raise ValueError(f"{known.dtype} {known.shape}")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a list of author hashes ({error}); remove it") from error
    return known

"""Copies of photos in two splits: the same file, or the same picture saved anew.

The second by a difference hash of 256 bits: whether the picture grows brighter from one of 16 by 17
fields to the next, which survives another size and another JPEG quality (after N. Krawetz, "Kind of
like that", 2013, https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html).
Pictures without contrast (fog, night) have no such hash and are counted.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.images import read_rgb
from data.photos.formats import ImageError
from data.place_sets.photos import resized
from retrieval.leaks.pairs import Finding, Pair, finding, near_pairs
from retrieval.leaks.photos import SplitPhotos

FIELDS = (16, 17)
BITS = 256
MOST_BITS = 16  # that differ; unrelated pictures differ in 128 +- 8 or more
LEAST_CONTRAST = 12.0  # standard deviation of the fields, of 255
DECODED_PX = 68  # four pixels a field


def byte_copies(photos: SplitPhotos) -> Finding:
    """Files that are the same in two splits."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for row, path in enumerate(photos.paths):
        by_size[path.stat().st_size].append(row)
    by_hash: dict[str, list[int]] = defaultdict(list)
    for rows in by_size.values():
        if len(set(photos.splits[rows])) > 1:  # only these can be copies: the others are not read
            for row in rows:
                by_hash[_sha256(photos.paths[row])].append(row)
    pairs = [
        Pair(a, b, 1.0, "same file")
        for rows in by_hash.values()
        for a, b in combinations(rows, 2)
        if photos.splits[a] != photos.splits[b]
    ]
    return finding("same file", "The same bytes (SHA-256) in two splits.", pairs, photos)


def picture_copies(
    photos: SplitPhotos, workers: int = 2, on_done: Callable[[int], None] | None = None
) -> Finding:
    """Pictures that are the same in two splits but for size and compression."""
    hashes = np.zeros((len(photos.paths), BITS), np.float32)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for row, found in enumerate(pool.map(difference_hash, photos.paths)):
            if found is not None:
                hashes[row] = found
            if on_done:
                on_done(1)
    is_usable = np.asarray(hashes.any(axis=1))
    pairs = [
        Pair(a, b, -distance / 4, f"{distance / 4:.0f} of {BITS} bits differ")
        for a, b, distance in near_pairs(hashes, photos, is_usable, 4 * MOST_BITS + 0.5)
    ]
    what = (
        f"The same picture by a difference hash: up to {MOST_BITS} of {BITS} bits differ "
        "(unrelated pictures: about 128)."
    )
    return finding("same picture", what, pairs, photos, {"without_hash": int((~is_usable).sum())})


def difference_hash(path: Path) -> NDArray[np.float32] | None:
    """256 numbers +1 or -1 of a photo; None where it is unreadable or has no contrast."""
    try:
        rgb = torch.from_numpy(read_rgb(path, min_side=DECODED_PX)).permute(2, 0, 1)
    except ImageError:
        return None
    fields = resized(rgb, FIELDS).float().mean(dim=0)
    if fields.std() < LEAST_CONTRAST:
        return None
    return torch.where(fields[:, 1:] > fields[:, :-1], 1.0, -1.0).flatten().numpy()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

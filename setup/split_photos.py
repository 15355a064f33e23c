"""Divide photos into training, validation and test, no photographer in two of them.

Photos of one photographer are alike (one camera, one journey, series of the same view), so a split
by photo tests on near-copies of what was trained on.
"""

import hashlib
import math
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


def split_photos(
    groups: Sequence[Hashable], val_share: float, test_share: float, seed: int = 0
) -> NDArray[np.int64]:
    """Draw whole groups into validation and test until these have their share; the rest trains.

    A group that would overfill both goes to training; a split that no group fits takes the smallest
    one. The draw hangs on the groups' names and `seed` alone, not on the order of the photos.

    Args:
        groups: the photographer of each photo, or another name where it stands for itself;
            `str` tells them apart.
        val_share: share of the photos for validation, 0 for none.
        test_share: share of the photos for testing, 0 for none.
        seed: of the draw.

    Returns:
        int64 `(N,)`: indexes into `SPLITS`.

    Raises:
        ValueError: the shares are not in 0..1 or leave nothing to train with, or a split that
            should have photos has none.
    """
    shares = (1 - val_share - test_share, val_share, test_share)
    if not all(math.isfinite(share) and share >= 0 for share in shares) or shares[0] <= 0:
        raise ValueError(
            f"val_share {val_share:g}, test_share {test_share:g}: neither may be negative, and "
            "their sum must be under 1"
        )
    members, names = pd.factorize(np.asarray(groups))
    sizes = np.bincount(members, minlength=len(names))
    draws = np.fromiter((_draw(name, seed) for name in names), "S32", len(names))
    draw = draws.argsort(kind="stable")
    room = [0] + [max(1, round(share * len(groups))) if share else 0 for share in shares[1:]]
    drawn = np.zeros(len(names), np.int64)
    for group in draw.tolist():
        fits = [name for name in (1, 2) if sizes[group] <= room[name]]
        if fits:
            drawn[group] = fits[0]
            room[fits[0]] -= sizes[group]
        if not any(room):
            break
    for name in (1, 2):
        left = draw[drawn[draw] == 0]
        if shares[name] and len(left) and not (drawn == name).any():
            drawn[left[sizes[left].argmin()]] = name
    split = drawn[members]
    _check(split, shares, len(names))
    return split


def _draw(group: Hashable, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def _check(split: NDArray[np.int64], shares: tuple[float, ...], num_groups: int) -> None:
    for number, (name, share) in enumerate(zip(SPLITS, shares, strict=True)):
        if share and not (split == number).any():
            raise ValueError(
                f"the {name} split has no photo: {len(split)} photos, {num_groups} photographers; "
                "a photographer's photos stay together; give more, or a share of 0"
            )

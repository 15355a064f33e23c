"""Pairs of synthetic views for GeoWarp: dense features and the quads that both have in common.

New views for every pair, as the source does, or a bank: some views of each photo, described once
and paired in all ways, so that a processor without a GPU spends its time on learning. What is drawn
is a function of seed and epoch: a run that goes on is the run that was never stopped.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import PlacePhotos, Rows
from data.transforms import normalize
from models.geowarp import SIDE, GeoWarp, Quads
from models.homography import warp, whole
from models.warping.pairs import random_trapezoids, random_views, render, views_of
from retrieval.bars import bar
from retrieval.descriptor_cache import Engine

BANK_BYTES = 8 * 2**30
_NEW, _BANK, _PAIRS = range(3)  # streams of random numbers


class ViewPairs(NamedTuple):
    """A batch of pairs.

    Attributes:
        a: Dense features of the one view, `(B, D, 15, 15)`.
        b: Of the other.
        truth: What both show.
    """

    a: Tensor
    b: Tensor
    truth: Quads


Epochs = Callable[[int], Iterator[ViewPairs]]  # number of the epoch to its batches


class NewViews:
    """Two new views for each pair.

    Args:
        model: Its extractor describes them.
        photos: To draw from.
        k: How far views may differ from their photo; see models/warping/pairs.py.
        shape: Batches of an epoch, pairs of a batch.
        engine: Device and threads.
        seed: Of all that is drawn.
    """

    def __init__(
        self,
        model: GeoWarp,
        photos: PlacePhotos,
        k: float,
        shape: tuple[int, int],
        engine: Engine,
        seed: int,
    ) -> None:
        self.model, self.photos, self.k, self.shape = model, photos, k, shape
        self.engine, self.seed = engine, seed

    def __call__(self, epoch: int) -> Iterator[ViewPairs]:
        """Batches of one epoch; photos that cannot be read are left out of theirs."""
        random = np.random.default_rng([self.seed, _NEW, epoch])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        batches, batch = self.shape
        rows = drawn_rows(len(self.photos), batches * batch, random)
        for members, pictures in self.photos.batches(rows, batch, self.engine.workers):
            views = random_views(len(members), self.k, generator)
            kept = [i for i, row in enumerate(members) if self.photos.is_readable(row)]
            if not kept:
                continue
            views = type(views)(*(quads[kept].to(self.engine.device) for quads in views))
            shown = render(shown_to(self.model, pictures[kept], self.engine), views)
            with torch.no_grad():
                a, b = self.model.dense(torch.cat(shown)).chunk(2)
            yield ViewPairs(a, b, Quads(views.seen_a, views.seen_b))


class BankedViews:
    """Views described once, `views` of each photo; any two of a photo are a pair.

    Args:
        model: As `NewViews`, like the others.
        photos: Likewise.
        k: Likewise.
        shape: Likewise.
        engine: Likewise.
        seed: Likewise.
        views: Of each photo, 2 or more.

    Raises:
        ValueError: fewer than two views, no readable photo, or a bank that is too large.
    """

    def __init__(
        self,
        model: GeoWarp,
        photos: PlacePhotos,
        k: float,
        shape: tuple[int, int],
        engine: Engine,
        seed: int,
        views: int,
    ) -> None:
        size = len(photos) * views * model.extractor.width * SIDE**2 * 2
        if views < 2 or size > BANK_BYTES:
            raise ValueError(
                f"a bank of {views} views of {len(photos):,} photos takes {size / 2**30:.1f} GiB; "
                f"it must hold 2 views or more and {BANK_BYTES / 2**30:g} GiB at most: take fewer "
                "views, or none (--bank 0)"
            )
        self.photos, self.shape, self.engine, self.seed = photos, shape, engine, seed
        random = np.random.default_rng([seed, _BANK])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        self.trapezoids = random_trapezoids(len(photos) * views, k, generator).unflatten(
            0, (len(photos), views)
        )
        self.features = self._described(model, photos, views)
        self.rows = np.array([i for i in range(len(photos)) if photos.is_readable(i)], np.int64)
        if not len(self.rows):
            raise ValueError("no photo could be read")

    def __call__(self, epoch: int) -> Iterator[ViewPairs]:
        """Batches of one epoch."""
        random = np.random.default_rng([self.seed, _PAIRS, epoch])
        batches, batch = self.shape
        rows = self.rows[drawn_rows(len(self.rows), batches * batch, random)]
        views = self.features.shape[1]
        one = random.integers(views, size=len(rows))
        other = (one + random.integers(1, views, size=len(rows))) % views
        for i in range(0, len(rows), batch):
            part = slice(i, i + batch)
            yield self.pairs(rows[part], one[part], other[part])

    def pairs(self, rows: Rows, one: Rows, other: Rows) -> ViewPairs:
        """The pairs of views `one` and `other` of photos `rows`, `(B,)` each."""
        where = [(torch.from_numpy(rows), torch.from_numpy(view)) for view in (one, other)]
        a, b = (self.features[place].to(self.engine.device).float() for place in where)
        views = views_of(*(self.trapezoids[place] for place in where))
        device = self.engine.device
        return ViewPairs(a, b, Quads(views.seen_a.to(device), views.seen_b.to(device)))

    def _described(self, model: GeoWarp, photos: PlacePhotos, views: int) -> Tensor:
        """Dense features float16 `(photos, views, D, 15, 15)`."""
        out = torch.empty(
            len(photos), views, model.extractor.width, SIDE, SIDE, dtype=torch.float16
        )
        every = range(len(photos))
        with bar("describing views", len(photos)) as on_done, torch.inference_mode():
            for members, pictures in photos.batches(every, 1, self.engine.workers):
                shown = shown_to(model, pictures, self.engine).expand(views, -1, -1, -1)
                quads = self.trapezoids[members[0]].to(self.engine.device)
                out[members[0]] = model.dense(warp(shown, quads)).half().cpu()
                on_done(1)
        return out


def corner_errors(
    model: GeoWarp, bank: BankedViews
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean distance of the eight corners from the truth; half of a picture's side is 1.

    Args:
        model: In any mode; it is asked in evaluation mode.
        bank: Each view is paired with the next of its photo.

    Returns:
        Errors of the model and of the guess that both photos show the same, each `(photos, V)`.
    """
    views, was_training = bank.features.shape[1], model.training
    found: list[list[Tensor]] = [[], []]
    model.eval()
    with torch.inference_mode():
        for row in bank.rows:
            one = np.arange(views)
            pairs = bank.pairs(np.full(views, row), one, (one + 1) % views)
            guesses = model.quads(pairs.a, pairs.b), Quads(*[whole(views, pairs.truth.a)] * 2)
            for errors, guess in zip(found, guesses, strict=True):
                apart = torch.cat(guess, dim=1) - torch.cat(pairs.truth, dim=1)
                errors.append(apart.norm(dim=2).mean(dim=1).double().cpu())
    model.train(was_training)
    ours, identity = (torch.stack(errors).numpy() for errors in found)
    return ours, identity


def shown_to(model: GeoWarp, pictures: Tensor, engine: Engine) -> Tensor:
    """Bytes `(B, 3, H, W)` as the model's backbone was trained to see them, on its device."""
    extractor = model.extractor
    return normalize(pictures.to(engine.device), extractor.mean, extractor.std)


def drawn_rows(rows: int, count: int, random: np.random.Generator) -> Rows:
    """So many of `rows` rows in random order: all of them before any again."""
    rounds = -(-count // rows)
    return np.concatenate([random.permutation(rows) for _ in range(rounds)])[:count]

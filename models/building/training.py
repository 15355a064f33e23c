"""Train the light network on shares of buildings, and judge it on photos it has not seen.

Binary cross-entropy against the share itself: each photo stands for that many pixels that are
buildings and so many that are not, so that an error near 0, where photos are sorted out, costs more
than one in the middle. A photo and its mirror image have one share.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.nn.functional import binary_cross_entropy_with_logits

from data.photos.photo_list import photo_list, refuse_other_photos
from data.place_sets.photos import PlacePhotos
from models.building.model import ModelShares, ShareRegressor
from models.devices import pick_device
from models.evaluation.intervals import bootstrap_interval
from models.training.checkpoint import AtomicCheckpointIO, newest_readable, prune, step_path
from models.training.loss_watch import LossWatch

HELD_OUT = 0.2  # share of the photos

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How it is trained; the flags of `python -m models.building_share train`."""

    backbone: str = "resnet18"
    pretrained: bool = True
    size: int = 128
    epochs: int = 20
    batch: int = 32
    lr: float = 5e-4
    seed: int = 0
    device: str = "auto"
    workers: int = 2

    def __post_init__(self) -> None:
        if min(self.size // 16, self.epochs, self.batch) < 1 or not self.lr > 0:
            raise ValueError("--size must be 16 or more, --epochs, --batch and --lr positive")

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON, without where it ran."""
        return {k: v for k, v in asdict(self).items() if k not in ("device", "workers")}


class Taught(NamedTuple):
    """What came of a training.

    Attributes:
        model: The network.
        start: What it started from, in words.
        figures: Of the held-out photos; see `judge`.
    """

    model: ShareRegressor
    start: str
    figures: dict[str, Any]


def train(paths: Sequence[Path], shares: Sequence[float], settings: Settings, out: Path) -> Taught:
    """Train, or go on from the newest checkpoint in `out`.

    Args:
        paths: Of the photos.
        shares: Of each, 0 to 1.
        settings: How.
        out: For checkpoints.

    Raises:
        ValueError: the backbone or the device cannot be had, or a checkpoint is another run's or
            of other photos or shares: those held out follow from the list of all.
        FloatingPointError: the loss is not finite; the message names the photos.
    """
    torch.manual_seed(settings.seed)
    device = pick_device(settings.device)
    model, start = _begin(settings)
    model.to(device)
    order = np.random.default_rng(settings.seed).permutation(len(paths))
    held_out, learned = np.split(order, [max(1, round(HELD_OUT * len(paths)))])
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    truth = torch.tensor(np.asarray(shares), dtype=torch.float32, device=device)
    photos = PlacePhotos(paths, (settings.size, settings.size))
    lists = {"photos": photo_list(paths), "their shares": _digest(shares)}
    first = _resume(out, model, optimizer, settings, lists)
    console = Console(stderr=True)
    for epoch in track(range(first, settings.epochs), "epochs", console=console):
        _set_rate(optimizer, settings, epoch)
        _epoch(model, optimizer, photos, truth, learned, settings, epoch)
        _save(out, model, optimizer, settings, lists, epoch + 1)
    predicted = ModelShares(model, batch=settings.batch, workers=settings.workers)
    found = list(predicted.measure([paths[i] for i in held_out]))
    judged = [
        (one.share, shares[i]) for one, i in zip(found, held_out, strict=True) if not one.error
    ]
    if not judged:
        raise ValueError(f"none of the {len(held_out)} held-out photos can be read")
    mean = float(np.mean([shares[i] for i in learned]))
    predictions, answers = np.array(judged, np.float64).T
    return Taught(model.cpu(), start, judge(predictions, answers, mean))


def judge(predicted: Floats, truth: Floats, constant: float) -> dict[str, Any]:
    """Figures of predictions `(N,)`, with 95% bootstrap intervals; plain types.

    Args:
        predicted: Shares by the light network.
        truth: Shares by its teacher.
        constant: What one would say of every photo that one has not seen.
    """
    pairs = np.stack([predicted, truth], axis=1)
    errors = np.abs(predicted - truth)
    spearman_ends = bootstrap_interval(pairs, lambda drawn: spearman(drawn[:, 0], drawn[:, 1]))
    return {
        "photos": len(truth),
        "spearman": spearman(predicted, truth),
        "spearman_interval": list(spearman_ends),
        "mae": float(errors.mean()),
        "mae_interval": list(bootstrap_interval(errors, np.mean)),
        "mae_of_the_mean": float(np.abs(truth - constant).mean()),
    }


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of `(N,)` and `(N,)`; equal values share their mean rank.

    0 where one of them is constant: it then says nothing about the other.
    """
    first, second = _ranks(a), _ranks(b)
    spread = first.std() * second.std()
    if spread == 0:
        return 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def in_words(figures: dict[str, Any]) -> str:
    """One line for the user."""
    return (
        "{photos} held-out photos: Spearman {spearman:.3f} [{0:.3f}, {1:.3f}], mean absolute error "
        "{mae:.4f} [{2:.4f}, {3:.4f}], always the mean: {mae_of_the_mean:.4f}"
    ).format(*figures["spearman_interval"], *figures["mae_interval"], **figures)


def _begin(settings: Settings) -> tuple[ShareRegressor, str]:
    """The untrained network; at random where no weights can be had, which is said."""
    if settings.pretrained:
        try:
            return ShareRegressor(settings.backbone, settings.size, True), "ImageNet weights"
        except ValueError as error:
            if "weights" not in str(error):
                raise
            sys.stderr.write(f"warning: {error}\nstarting from random weights\n")
    return ShareRegressor(settings.backbone, settings.size), "random weights"


def _set_rate(optimizer: torch.optim.Optimizer, settings: Settings, epoch: int) -> None:
    """Half a cosine, from the greatest rate to nearly none."""
    rate = settings.lr * (1 + np.cos(np.pi * epoch / settings.epochs)) / 2
    for group in optimizer.param_groups:
        group["lr"] = float(rate)


def _epoch(
    model: ShareRegressor,
    optimizer: torch.optim.Optimizer,
    photos: PlacePhotos,
    truth: torch.Tensor,
    learned: NDArray[np.int64],
    settings: Settings,
    epoch: int,
) -> None:
    """Learn from every photo once; photos and mirrorings follow from seed and epoch alone."""
    random, watch = np.random.default_rng((settings.seed, epoch)), LossWatch()
    order = random.permutation(learned)
    model.train()
    for rows, pictures in photos.batches(order, settings.batch, settings.workers):
        there = [place for place, row in enumerate(rows) if photos.is_readable(row)]
        if len(there) < 2:  # a batch norm cannot learn from one photo
            continue
        rows, pictures = [rows[place] for place in there], pictures[there]
        mirrored = torch.from_numpy(random.random(len(rows)) < 0.5).view(-1, 1, 1, 1)
        pictures = torch.where(mirrored, pictures.flip(3), pictures)
        loss = binary_cross_entropy_with_logits(model(pictures.to(truth.device)), truth[rows])
        watch.see(loss, [str(photos.paths[row]) for row in rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    watch.check()


def _digest(shares: Sequence[float]) -> str:
    return hashlib.sha256(np.asarray(shares, np.float64).tobytes()).hexdigest()[:16]


def _save(
    out: Path,
    model: ShareRegressor,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    lists: Mapping[str, str],
    epochs: int,
) -> None:
    state = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs,
        "settings": settings.plain(), "photos": dict(lists),
    }  # fmt: skip
    AtomicCheckpointIO().save_checkpoint(state, step_path(out / "checkpoints", epochs))
    prune(out / "checkpoints")


def _resume(
    out: Path,
    model: ShareRegressor,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    lists: Mapping[str, str],
) -> int:
    """Load the newest checkpoint, if there is one; returns the epochs that are done."""
    newest = newest_readable(out / "checkpoints")
    if newest is None:
        return 0
    state = AtomicCheckpointIO().load_checkpoint(newest, model.head.weight.device)
    if state["settings"] != settings.plain():
        raise ValueError(f"{newest} was made with {state['settings']}; give the same to go on")
    refuse_other_photos(out, state.get("photos", {}), lists)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epochs"])

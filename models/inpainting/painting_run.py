"""One training of inpainting as it stands: network, optimiser, step; a stopped one goes on exactly.

Everything drawn at random is a function of the seed and the step (models/inpainting/photos.py), so
weights, optimiser and step are the whole state.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.photos.photo_list import refuse_other_photos
from models.devices import pick_device
from models.inpainting.features import FeaturePyramid
from models.inpainting.losses import loss_terms, total_loss
from models.inpainting.recipe import FEATURES_OFF, InpaintingRecipe
from models.inpainting.unet import PartialConvUNet
from models.training.checkpoint import (
    AtomicCheckpointIO,
    checkpoints_in,
    newest_readable,
    prune,
    step_path,
)


class PaintingRun:
    """A training run.

    Args:
        recipe: Its settings.
        photos: Which it is on (data/photos/photo_list.py): those to judge by follow from the list.

    Attributes:
        step: Steps that are done.
        history: Figures of each checkpoint.

    Raises:
        ValueError: `out` holds a run that is not to be gone on with, or none that is; or it was
            begun with other settings or photos; or the device or the features' network cannot be
            had.
    """

    def __init__(self, recipe: InpaintingRecipe, photos: Mapping[str, str]) -> None:
        self.recipe, self.directory = recipe, Path(recipe.out) / "checkpoints"
        self.photos = dict(photos)
        path = _checkpoint_to_resume(recipe, self.directory)
        self.device = pick_device(recipe.device)
        torch.manual_seed(recipe.seed)
        self.network = PartialConvUNet(recipe.unet).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.lr)
        self.pyramid: FeaturePyramid | None = None
        if recipe.features != FEATURES_OFF and recipe.perceptual + recipe.style > 0:
            self.pyramid = FeaturePyramid(recipe.features, recipe.pretrained).to(self.device)
        self.step, self.history = 0, list[dict[str, Any]]()
        if path is not None:
            self._load(path)

    def advance(self, photos: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Do one step on photos in 0..1; returns the terms of the loss and their sum, `total`."""
        self._set_phase()
        photos, known = photos.to(self.device), known.to(self.device)
        painted, _ = self.network(photos, known)
        terms = loss_terms(painted, photos, known, self.pyramid)
        loss = total_loss(terms, self.recipe.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return {name: term.detach() for name, term in (terms | {"total": loss}).items()}

    def save(self) -> None:
        """Write a checkpoint; the last two are kept.

        Raises:
            OSError: it cannot be written; the ones before it are whole.
        """
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
            "settings": self.recipe.binding,
            "photos": self.photos,
        }
        AtomicCheckpointIO().save_checkpoint(state, step_path(self.directory, self.step))
        prune(self.directory)

    def _set_phase(self) -> None:
        self.network.train()
        is_frozen = self.step >= self.recipe.steps
        if is_frozen:
            self.network.freeze_encoder_norms()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.frozen_lr if is_frozen else self.recipe.lr

    def _load(self, path: Path) -> None:
        state = AtomicCheckpointIO().load_checkpoint(path, map_location=self.device)
        before, now = state["settings"], self.recipe.binding
        if changed := [name for name in now if now[name] != before.get(name)]:
            shown = ", ".join(f"--{name} {before.get(name)}" for name in changed)
            raise ValueError(f"{self.directory} was begun with {shown}; give the same to go on")
        refuse_other_photos(Path(self.recipe.out), state.get("photos", {}), self.photos)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = state["step"], state["history"]
        sys.stderr.write(f"going on from step {self.step:,}\n")


def _checkpoint_to_resume(recipe: InpaintingRecipe, directory: Path) -> Path | None:
    """The newest whole checkpoint for --resume, else None."""
    if recipe.resume:
        newest = newest_readable(directory)
        if newest is None:
            raise ValueError(f"--resume: no checkpoint in {directory}; leave out --resume to start")
        return newest
    if checkpoints_in(directory):
        raise ValueError(
            f"{recipe.out} holds a run: go on with it by --resume, or take another --out"
        )
    return None

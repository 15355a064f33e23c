"""UNIT's training step and what it must be gone on with.

Everything drawn at random is a function of seed and step; networks, optimisers and the step are in
the checkpoint: a run that goes on is the run that was never stopped.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.translation.losses import (
    Judge,
    Pair,
    Perceptual,
    discriminator_loss,
    pass_through,
    translator_losses,
)
from models.translation.networks import SIDES, Discriminator, Translator
from models.translation.settings import UnitSettings


class UnitTraining:
    """A translator, its discriminators and their optimisers.

    Args:
        settings: All of it.
        perceptual: See `models.translation.losses`.
        device: Where to train.

    Attributes:
        step: Steps taken.
    """

    def __init__(
        self, settings: UnitSettings, perceptual: Perceptual | None, device: torch.device
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.step = settings, device, 0
        self.translator = Translator(settings).to(device)
        self.discriminators = nn.ModuleDict({s: Discriminator(settings) for s in SIDES}).to(device)
        self.perceptual = perceptual.to(device) if perceptual else None
        self.optimizers = {
            "translator": _adam(self.translator, settings),
            "discriminators": _adam(self.discriminators, settings),
        }

    def learn(self, photos: Pair) -> dict[str, float]:
        """Take one step; returns the losses before it, by name.

        Raises:
            ValueError: a loss is not a finite number.
        """
        photos = {side: pictures.to(self.device) for side, pictures in photos.items()}
        generator = torch.Generator(self.device).manual_seed(
            self.settings.seed * 1_000_003 + self.step
        )
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        passed = pass_through(self.translator, photos, generator)
        judges: Mapping[str, Judge] = dict(self.discriminators.items())
        against = discriminator_loss(photos, passed.translated, judges)
        weighted = self.settings.gan_weight * against
        self._descend("discriminators", {"discriminator": against}, weighted)
        # The translator is judged by discriminators that have learned already, as the reference's.
        self.discriminators.requires_grad_(False)
        losses = translator_losses(passed, judges, self.perceptual)
        total = losses.total(self.settings)
        named = {"discriminator": against, **losses._asdict(), "total": total}
        self._descend("translator", named, total)
        self.discriminators.requires_grad_(True)
        self.step += 1
        return {name: float(loss.detach()) for name, loss in named.items()}

    @property
    def lr(self) -> float:
        """The learning rate of the step that comes."""
        return self.settings.lr * self.settings.lr_drop ** (self.step // self.settings.lr_step)

    def _descend(self, name: str, losses: dict[str, Tensor], total: Tensor) -> None:
        wrong = [key for key, loss in losses.items() if not math.isfinite(float(loss.detach()))]
        if wrong:
            raise ValueError(_not_finite(self.step, ", ".join(wrong)))
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds.

        Raises:
            ValueError: a weight is not a finite number.
        """
        for module in (self.translator, self.discriminators):
            if not all(bool(torch.isfinite(weights).all()) for weights in module.parameters()):
                raise ValueError(_not_finite(self.step, "a weight"))
        return {
            "settings": self.settings.plain(),
            "step": self.step,
            "translator": self.translator.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint.

        Raises:
            ValueError: it was made with other settings.
        """
        theirs, ours = state["settings"], self.settings.plain()
        other = [f"{k} {theirs.get(k)}, now {v}" for k, v in ours.items() if theirs.get(k) != v]
        if other:
            raise ValueError(
                f"the run to resume had other settings: {'; '.join(other)}; give them again, or "
                "take another --out"
            )
        self.translator.load_state_dict(state["translator"])
        self.discriminators.load_state_dict(state["discriminators"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.step = state["step"]


def _not_finite(step: int, what: str) -> str:
    return (
        f"step {step}: {what} is not finite, so training stopped; what was saved before is whole. "
        "Start anew with a smaller --lr"
    )


def _adam(module: nn.Module, settings: UnitSettings) -> torch.optim.Adam:
    return torch.optim.Adam(
        module.parameters(), settings.lr, (settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
    )  # fmt: skip

"""AdamW with its schedule: what of a recipe the optimiser is made of."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from models.training.layer_decay import parameter_groups
from models.training.schedule import schedule


@dataclass(frozen=True)
class Optimizing:
    """How the weights are moved.

    Attributes:
        learning_rate: peak of the schedule.
        weight_decay: AdamW's, on matrices only.
        layer_decay: learning rate of a layer in units of the next one's; 1 = the same for all.
        schedule: "cosine", "one_cycle" or "constant".
        warmup_share: share of all steps in which the rate climbs.
    """

    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    schedule: str = "cosine"
    warmup_share: float = 0.05

    def build(self, model: nn.Module, total_steps: int, is_scaled: bool = False) -> dict[str, Any]:
        """Optimiser and schedule over a run of `total_steps`, in Lightning's form.

        Args:
            model: what is trained.
            total_steps: optimiser steps of the whole run.
            is_scaled: gradients come scaled (float16), and must be unscaled before they are
                clipped: the kernel that does both at once is not for those.

        Raises:
            ValueError: a setting is out of range or does not suit the model.
        """
        groups = parameter_groups(model, self.learning_rate, self.weight_decay, self.layer_decay)
        is_sharded = any(isinstance(p, DTensor) for group in groups for p in group["params"])
        # One kernel for all weights; those of FSDP take torch's own choice.
        fused = None if is_sharded or is_scaled else True
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=fused)
        rate = schedule(self.schedule, max(1, total_steps), self.warmup_share)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

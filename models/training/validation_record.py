"""What a model said of validation photos, kept whole: calibration fits itself to it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.geocell_vit import Prediction

Batch = dict[str, Any]


class ValidationRecord:
    """What validation collects: finest cells, positions and logits of every usable photo."""

    def __init__(self) -> None:
        self.logits: dict[str, list[np.ndarray]] = {}
        self.cells: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []

    def add(self, prediction: Prediction, batch: Batch, usable: Tensor, finest: int) -> None:
        """Keep the usable photos of one batch; `finest` is the column of their finest cells."""
        valid = usable.cpu().numpy()
        for level, values in prediction.cells.items():
            self.logits.setdefault(level, []).append(values.float().cpu().numpy()[valid])
        self.cells.append(batch["cells"][:, finest].cpu().numpy()[valid])
        self.positions.append(torch.stack([batch["lat"], batch["lon"]], 1).cpu().numpy()[valid])

    def joined(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return logits by level, finest cells `(N,)` and positions `(N, 2)`."""
        logits = {level: np.concatenate(parts) for level, parts in self.logits.items()}
        return logits, np.concatenate(self.cells), np.concatenate(self.positions)

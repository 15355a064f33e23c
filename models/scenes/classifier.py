"""What scene a photo shows: one of the 365 of Places, by any network that was trained for them.

    classifier = SceneClassifier.load("resnet50_places365.pth.tar")
    probabilities = classifier.probabilities([photo])  # (1, 365), in the order of Places

Places: Zhou et al., 2017 (https://doi.org/10.1109/TPAMI.2017.2723009). What formats are read:
models/scenes/checkpoints.py; how scenes are summed up: data/places365.py.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.places365 import NUM_PLACES
from data.transforms import EvalTransform, normalize
from models.devices import pick_device
from models.scenes.checkpoints import Checkpoint, Input, read_checkpoint
from models.weights import fingerprint

Pixels = NDArray[np.uint8]


class SceneClassifier:
    """A network with the preparation that it was trained with.

    Attributes:
        input: what the network takes.
        device: where it runs.
    """

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = "cpu") -> None:
        self.input: Input = checkpoint.input
        self.device = torch.device(device)
        self._network: nn.Module = checkpoint.network.to(self.device)
        self._resize = EvalTransform(self.input.resize)

    @classmethod
    def load(cls, name_or_dir: str, device: str = "auto") -> "SceneClassifier":
        """Load a classifier.

        Args:
            name_or_dir: of the model; see `models.scenes.checkpoints`.
            device: cpu, cuda, cuda:1 ..., or auto: the GPU where there is one.

        Raises:
            ValueError: there is no such device, or the model cannot be had or is no classifier of
                the 365 scenes.
        """
        chosen = pick_device(device)
        return cls(read_checkpoint(name_or_dir), chosen)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the network's weights, whatever file they came from."""
        return fingerprint(self._network)

    def probabilities(self, photos: Sequence[Pixels], batch: int = 32) -> NDArray[np.float32]:
        """Classify photos.

        Args:
            photos: uint8 `(H, W, 3)` each, of any sizes.
            batch: how many go through the network at a time.

        Returns:
            float32 `(N, 365)`; each row sums to 1.
        """
        return self.classify([self.prepare(photo) for photo in photos], batch)

    def prepare(self, photo: Pixels) -> Tensor:
        """A photo as the network takes it but for normalisation: uint8 `(3, S, S)`.

        Several threads may do it at a time.
        """
        rgb, _ = self._resize(torch.from_numpy(photo).permute(2, 0, 1))
        edge = (self.input.resize - self.input.size) // 2
        return rgb[:, edge : edge + self.input.size, edge : edge + self.input.size]

    @torch.inference_mode()
    def classify(self, prepared: Sequence[Tensor], batch: int = 32) -> NDArray[np.float32]:
        """Classify what `prepare` gave; result as `probabilities`'."""
        rows = [np.zeros((0, NUM_PLACES), np.float32)]
        for start in range(0, len(prepared), batch):
            pixels = torch.stack(list(prepared[start : start + batch])).to(self.device)
            scores = self._network(normalize(pixels, self.input.mean, self.input.std))
            rows.append(scores.float().softmax(dim=1).cpu().numpy())
        return np.concatenate(rows)

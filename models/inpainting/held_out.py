"""How well holes in photos that were not trained on are filled: error in the hole, and a picture.

The named alternative is the mean colour of each photo's known pixels. Which squares and which holes
are judged is fixed by the run's seed, so that all checkpoints answer the same question.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from models.evaluation.intervals import bootstrap_interval
from models.inpainting.losses import composed
from models.inpainting.photos import HoledPhotos
from models.inpainting.unet import PartialConvUNet
from partitioning.atomic_file import atomic_path

SHOWN, GAP_PX, TEXT_PX, HOLE_GREY = 8, 4, 12, 0.75
LEAST_PX = 128  # small pictures are looked at enlarged
HEADS = ("photo", "hole", "painted", "filled")
BATCH = 8

NEAREST = Image.Resampling.NEAREST

Errors = NDArray[np.float64]


class HeldOut:
    """Squares with holes that are judged.

    Args:
        photos: Of those that are not trained on.
    """

    def __init__(self, photos: HoledPhotos) -> None:
        pairs = [photos.one(row, 0) for row in range(len(photos.paths))]
        self.squares = torch.stack([square for square, _ in pairs]).float() / 255
        self.known = torch.stack([known for _, known in pairs])

    def __len__(self) -> int:
        return len(self.squares)

    @torch.inference_mode()
    def painted(self, network: PartialConvUNet) -> Tensor:
        """What the network makes of all, `(N, 3, S, S)`; it is set to evaluation mode."""
        device = next(network.parameters()).device
        parts = zip(self.squares.split(BATCH), self.known.split(BATCH), strict=True)
        network.eval()
        return torch.cat([network(p.to(device), k.to(device))[0].cpu() for p, k in parts])

    def mean_colours(self) -> Tensor:
        """The mean of each one's known pixels, as a picture."""
        total = (self.squares * self.known).sum(dim=(2, 3), keepdim=True)
        return (total / self.known.sum(dim=(2, 3), keepdim=True)).expand_as(self.squares)

    def hole_errors(self, painted: Tensor) -> Errors:
        """Mean absolute error in each one's hole, in levels of 0..255, `(N,)`."""
        hole = (1 - self.known).expand_as(painted)
        error = ((painted.clamp(0, 1) - self.squares).abs() * hole).sum(dim=(1, 2, 3))
        return (255 * error / hole.sum(dim=(1, 2, 3)).clamp(min=1)).double().numpy()

    def judge(self, network: PartialConvUNet) -> dict[str, Any]:
        """Both errors, and their difference with its paired bootstrap interval; plain types."""
        ours = self.hole_errors(self.painted(network))
        plain = self.hole_errors(self.mean_colours())
        low, high = bootstrap_interval(ours - plain, np.mean)
        return {
            "photos": len(self),
            "hole_l1": float(ours.mean()),
            "mean_colour_l1": float(plain.mean()),
            "difference": float((ours - plain).mean()),
            "low": low,
            "high": high,
            "better_on": int((ours < plain).sum()),
        }

    def draw(self, network: PartialConvUNet, path: Path) -> None:
        """Write a PNG of some of them: photo, hole, what was painted, filled photo."""
        painted = self.painted(network).clamp(0, 1)[:SHOWN]
        photos, known = self.squares[:SHOWN], self.known[:SHOWN]
        holed = photos * known + HOLE_GREY * (1 - known)
        columns = (photos, holed, painted, composed(painted, photos, known))
        factor = -(-LEAST_PX // photos.shape[2])
        step = photos.shape[2] * factor + GAP_PX
        top = TEXT_PX + 2 * GAP_PX
        sheet = Image.new("RGB", (4 * step, top + len(photos) * step), (255, 255, 255))
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
        for across, (head, column) in enumerate(zip(HEADS, columns, strict=True)):
            pen.text((across * step, GAP_PX), head, (29, 42, 53), font)
            for down, picture in enumerate(column):
                tile = Image.fromarray(_pixels(picture)).resize((step - GAP_PX,) * 2, NEAREST)
                sheet.paste(tile, (across * step, top + down * step))
        with atomic_path(path) as temporary:
            sheet.save(temporary, "PNG")


def _pixels(picture: Tensor) -> NDArray[np.uint8]:
    return (picture.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)


def in_words(judged: dict[str, Any]) -> str:
    """One line for the user."""
    text = (
        "hole L1 of {photos} held-out photos: {hole_l1:.2f} of 255, mean colour "
        "{mean_colour_l1:.2f}: {difference:+.2f} [{low:+.2f}, {high:+.2f}], better on {better_on}"
    )
    return text.format(**judged)

"""A decoder beside an embedder: from the backbone's map back to the photo, an L2 loss.

It is there in training only, so that the backbone keeps what the place looks like while it learns
to tell places apart. The decoder mirrors the backbone: at each halving of the photo's size that the
backbone makes, the decoder doubles it, with as many channels as the backbone has there; doubling is
bilinear interpolation and a 3 x 3 convolution, which leaves no checkerboard (Odena et al.,
"Deconvolution and Checkerboard Artifacts", 2016, https://distill.pub/2016/deconv-checkerboard).
Attached by `retrieval.train --autoencoder_weight`; the saved model holds nothing of it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.places.local_features import Extractor, Local

LEAST_WIDTH = 16  # of a scale at which the backbone has no map, as in a transformer


class AutoencoderBranch(nn.Module):
    """Maps `(B, D, h, w)` of a backbone back to its input `(B, 3, H, W)`.

    Args:
        extractor: The backbone to mirror.
        blocks: Its blocks, whose maps tell how many channels it has at which size.
        size: Height and width of the photos, px; others of any size go through it too.
    """

    def __init__(
        self, extractor: Extractor, blocks: Sequence[nn.Module], size: tuple[int, int]
    ) -> None:
        super().__init__()
        widths = scale_widths(extractor, blocks, size)
        self.levels = max(widths)  # halvings from photo to map
        channels, stages = extractor.width, {}
        for level in range(self.levels - 1, -1 if 0 in widths else 0, -1):
            width = widths.get(level) or max(LEAST_WIDTH, channels // 2)
            stages[str(level)] = nn.Conv2d(channels, width, 3, padding=1)
            channels = width
        self.stages = nn.ModuleDict(stages)
        self.paint = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Paint `(B, 3, *size)` from `(B, D, h, w)`."""
        for level, stage in self.stages.items():
            maps = stage(stretched(maps, halved(size, int(level)))).relu()
        painted: Tensor = self.paint(stretched(maps, size))
        return painted

    def loss(self, maps: Tensor, images: Tensor) -> Tensor:
        """Mean of the squared differences of painted and given `images` `(B, 3, H, W)`.

        Normalised images, as the backbone sees them. No image gives 0 with a gradient.
        """
        painted = self(maps, (images.shape[2], images.shape[3])).float()
        return (painted - images).square().sum() / max(1, images.numel())


def stretched(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate `(B, D, h, w)` to `(B, D, *size)`."""
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """A size halved so often, rounded up as convolutions of stride 2 do."""
    return -(-size[0] // 2**times), -(-size[1] // 2**times)


@torch.no_grad()
def scale_widths(
    extractor: Extractor, blocks: Sequence[nn.Module], size: tuple[int, int]
) -> dict[int, int]:
    """Channels of a backbone's last map after each number of halvings of the photo's size.

    Args:
        extractor: The backbone.
        blocks: Those whose outputs are looked at; what is no map `(B, D, h, w)` does not count.
        size: Of the photo to try, px.
    """
    shapes: list[torch.Size] = []

    def keep(module: nn.Module, arguments: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            shapes.append(output.shape)

    was_training = extractor.training
    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        some = next(extractor.parameters())
        shapes.append(extractor.eval()(torch.zeros(1, 3, *size, device=some.device)).maps.shape)
    finally:
        extractor.train(was_training)
        for handle in handles:
            handle.remove()
    return {round(math.log2(size[0] / shape[2])): shape[1] for shape in shapes}


@contextmanager
def watched_maps(extractor: Extractor) -> Iterator[list[Tensor]]:
    """The maps that a backbone makes meanwhile: no photo goes through it twice."""
    found: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: Local) -> None:
        found.append(output.maps)

    handle = extractor.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()

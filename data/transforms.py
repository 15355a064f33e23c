"""Cut and resize a photo and its segmentation map by one and the same geometry.

The geometry is drawn first, from the photo's size alone, so that a reader can decode a large JPEG
at 1/2 or 1/4 where the crop is large enough (`Geometry.factor`). The box then moves to multiples
of that factor, so that the map, which is never scaled, is cut exactly where the photo is.
Photos are resized by antialiased bilinear interpolation on bytes, maps by nearest neighbour;
`normalize` turns a finished batch into floats.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from data.images import IMAGENET_MEAN, IMAGENET_STD, center_square

LUMA = (0.299, 0.587, 0.114)  # grey of RGB, ITU-R BT.601


class Box(NamedTuple):
    """A rectangle in a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def divided(self, factor: int) -> "Box":
        """The rectangle in the picture at 1/factor of its size, in whole pixels of that."""
        return Box(*(edge // factor for edge in self))

    def snapped(self, factor: int) -> "Box":
        """The rectangle with edges at multiples of `factor`."""
        return Box(*(edge // factor * factor for edge in self))


class Geometry(NamedTuple):
    """What is cut out of the photo in full size, whether it is mirrored, and the decoder's factor.

    `factor` is 1, 2 or 4: how many times smaller the photo may be decoded for this crop.
    """

    box: Box
    is_mirrored: bool
    factor: int


class PairedTransform(ABC):
    """Photo and map to squares of `size` pixels."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.size = size

    @abstractmethod
    def geometry(self, height: int, width: int, generator: torch.Generator | None) -> Geometry:
        """Draw what to cut out of a photo of this size in pixels."""

    def recolour(self, rgb: Tensor, generator: torch.Generator | None) -> Tensor:
        """Change the colours of uint8 `(3, S, S)`, or leave them."""
        return rgb

    def apply(
        self,
        rgb: Tensor,
        seg: Tensor | None,
        geometry: Geometry,
        generator: torch.Generator | None,
        factor: int = 1,
    ) -> tuple[Tensor, Tensor | None]:
        """Carry out a geometry.

        Args:
            rgb: uint8 `(3, H, W)` at 1/factor of the photo's size.
            seg: uint8 `(H, W)` at the photo's full size, or None.
            geometry: From `geometry`, called with the photo's full size.
            generator: For the colours.
            factor: `geometry.factor` if the decoder followed it, or less, as `shrunk_by` says.

        Returns:
            rgb uint8 `(3, S, S)`, contiguous, and seg uint8 `(S, S)` or None.
        """
        square = resize_photo(crop(rgb, geometry.box.divided(factor)), self.size)
        labels = None
        if seg is not None:
            labels = resize_map(crop(seg, geometry.box.snapped(factor)), self.size)
        if geometry.is_mirrored:
            square, labels = square.flip(-1), None if labels is None else labels.flip(-1)
        return self.recolour(square, generator), labels

    def __call__(
        self, rgb: Tensor, seg: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Transform a photo uint8 `(3, H, W)` and its map uint8 `(H, W)`, both in full size.

        Returns:
            rgb uint8 `(3, S, S)` and seg uint8 `(S, S)` or None.

        Raises:
            ValueError: the map has another size than the photo.
        """
        height, width = rgb.shape[-2:]
        if seg is not None:
            check_same_size((height, width), tuple(seg.shape), "the photo")
        return self.apply(rgb, seg, self.geometry(height, width, generator), generator)


class EvalTransform(PairedTransform):
    """The middle square, resized: what `data.images.preprocess` does without torch."""

    def geometry(self, height: int, width: int, generator: torch.Generator | None) -> Geometry:
        """The largest square in the middle, whatever the generator."""
        top, left, side = center_square(height, width)
        box = Box(top, left, side, side)
        return Geometry(box, False, _decoder_factor(box, self.size))


class TrainTransform(PairedTransform):
    """A random crop of random shape, resized; colours changed at random.

    Args:
        size: Edge of the result in pixels.
        scale: Least and greatest part of the photo's area to cut out.
        ratio: Least and greatest width / height of what is cut out.
        mirror: Probability of mirroring left and right. Off by default: a mirrored street shows
            mirrored writing and the wrong side of the road, which say where a photo was taken.
        jitter: How far brightness, contrast and saturation go: factors in 1 - jitter..1 + jitter.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        mirror: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        super().__init__(size)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be two parts of the area in (0, 1], got {scale}")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must be two positive numbers in order, got {ratio}")
        if not (0 <= mirror <= 1 and 0 <= jitter <= 1):
            raise ValueError(f"mirror and jitter must lie in [0, 1], got {mirror} and {jitter}")
        self.scale, self.ratio, self.mirror, self.jitter = scale, ratio, mirror, jitter

    def geometry(self, height: int, width: int, generator: torch.Generator | None) -> Geometry:
        """Draw area uniformly, shape log-uniformly, place uniformly.

        A crop that would stick out is cut to the photo's edge instead of drawn again, so that
        every photo takes the same number of random numbers.
        """
        area, shape, down, right, mirrored = torch.rand(5, generator=generator).tolist()
        pixels = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
        low, high = (math.log(bound) for bound in self.ratio)
        ratio = math.exp(low + shape * (high - low))
        rows = max(1, min(height, round(math.sqrt(pixels / ratio))))
        columns = max(1, min(width, round(math.sqrt(pixels * ratio))))
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        box = Box(top, left, rows, columns)
        return Geometry(box, mirrored < self.mirror, _decoder_factor(box, self.size))

    def recolour(self, rgb: Tensor, generator: torch.Generator | None) -> Tensor:
        """Scale brightness, then contrast about the mean grey, then saturation about each grey."""
        if not self.jitter:
            return rgb
        factors = 1 + self.jitter * (2 * torch.rand(3, generator=generator) - 1)
        brightness, contrast, saturation = factors.tolist()
        pixels = rgb.float().mul_(brightness)
        mean = _grey(pixels).mean()
        pixels = mean + contrast * (pixels - mean)
        grey = _grey(pixels)
        return (grey + saturation * (pixels - grey)).round_().clamp_(0, 255).to(torch.uint8)


def crop(picture: Tensor, box: Box) -> Tensor:
    """Cut `box` out of `(..., H, W)`, without a copy."""
    return picture[..., box.top : box.top + box.height, box.left : box.left + box.width]


def resize_photo(rgb: Tensor, size: int) -> Tensor:
    """Resize uint8 `(3, H, W)` to `(3, size, size)` by antialiased bilinear interpolation."""
    # Channels last is the fast path for bytes: half the time of planes, copy included.
    batch = rgb.unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)[
        0
    ].contiguous()


def resize_map(seg: Tensor, size: int) -> Tensor:
    """Resize class indices `(H, W)` to `(size, size)`: the one under each new pixel's middle."""
    rows, columns = (((torch.arange(size) + 0.5) * (n / size)).long() for n in seg.shape)
    return seg[rows[:, None], columns]


def normalize(
    batch: Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Tensor:
    """Bytes `(B, 3, S, S)` to float32: each channel in 0..1, less its mean, over its deviation."""
    scale = (1 / (255 * torch.tensor(std))).view(3, 1, 1).to(batch.device)
    shift = (torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1).to(batch.device)
    return batch.float().mul_(scale).sub_(shift)


def check_same_size(photo: tuple[int, ...], seg: tuple[int, ...], name: str) -> None:
    """Raise ValueError where a map's (height, width) is not its photo's."""
    if photo != seg:
        raise ValueError(
            f"{name} is {photo[1]} x {photo[0]} and its segmentation map "
            f"{' x '.join(map(str, reversed(seg)))}: segment the upright photo at its own size"
        )


def _decoder_factor(box: Box, size: int) -> int:
    """The largest of 4, 2, 1 that leaves a crop at least `size` pixels wide and high."""
    return next((f for f in (4, 2) if min(box.height, box.width) >= f * size), 1)


def _grey(pixels: Tensor) -> Tensor:
    return torch.einsum("c,chw->hw", torch.tensor(LUMA), pixels)

"""Change a photo at random as another visit would: light, standpoint, framing, things in the way.

Each change is off at 0. Factors of light as in TensorFlow's and torchvision's colour jitter; the
quad of a perspective change has its corners drawn inwards by up to half the distortion times the
side, and is either cropped (what the quad shows fills the picture) or filled (the photo is squeezed
into the quad, black around it); a crop has an area drawn from `resized_crop`..1 of the photo;
random erasing is Zhong et al., "Random Erasing Data Augmentation", 2020,
https://arxiv.org/abs/1708.04896, here with the area of 0.05 to 0.08 that a parked car or passer-by
takes; night: data/night.py. Deterministic for a generator's state.
"""

import colorsys
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from data.night import NIGHTS
from data.transforms import LUMA

PERSPECTIVE_EDGES = ("crop", "fill")
SHAPE = (0.5, 2.0)  # width / height of what is erased
RATIO = (3 / 4, 4 / 3)  # change of a crop's shape
_NIGHT_NAMES = ("none", *NIGHTS)


@dataclass(frozen=True)
class Augmentation:
    """How far photos of queries are changed.

    Attributes:
        brightness, contrast, saturation: Factors are drawn from 1 - x..1 + x.
        hue: Turned by up to so many circles, 0..0.5.
        perspective: Distortion, 0..1.
        resized_crop: Least area kept, above 0 and below 1; 0 does not crop.
        rotation_deg: Turned by up to so many degrees; what comes in from outside is mirrored, or
            black where perspective fills.
        flip: Probability of mirroring left and right.
        erasing: Probability that something stands in the way.
        erased: Least and greatest area of it.
        perspective_p: Probability of a perspective change.
        perspective_edges: "crop", or "fill" with black.
        night: "none", or one of `data.night.NIGHTS`.
        night_p: Probability that it turns night.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    perspective: float = 0.0
    resized_crop: float = 0.0
    rotation_deg: float = 0.0
    flip: float = 0.0
    erasing: float = 0.0
    erased: tuple[float, float] = (0.05, 0.08)
    perspective_p: float = 0.5
    perspective_edges: str = "crop"
    night: str = "none"
    night_p: float = 0.0

    def __post_init__(self) -> None:
        shares = [self.perspective, self.resized_crop, self.flip, self.erasing, *self.erased]
        shares += [self.perspective_p, self.night_p]
        if not all(0 <= share <= 1 for share in shares) or self.erased[0] > self.erased[1]:
            raise ValueError(
                "perspective, resized_crop, flip, erasing and probabilities must lie in 0..1"
            )
        for name, known in (("perspective_edges", PERSPECTIVE_EDGES), ("night", _NIGHT_NAMES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not (0 <= self.hue <= 0.5 and 0 <= self.rotation_deg <= 180):
            raise ValueError("hue must lie in 0..0.5, rotation_deg in 0..180")
        if min(self.brightness, self.contrast, self.saturation) < 0:
            raise ValueError("brightness, contrast and saturation must not be negative")

    def __call__(self, rgb: Tensor, generator: torch.Generator) -> Tensor:
        """Change uint8 `(3, H, W)`; the same shape comes out.

        All numbers are drawn first, however few are used, so that one setting does not change what
        another draws.
        """
        draws = torch.rand(24, generator=generator).tolist()
        night_draw, night_seed = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        picture = rgb.float() / 255
        picture = self._lit(picture, draws[:4])
        grid = self._grid(rgb.shape[1], rgb.shape[2], draws[4:19])
        if grid is not None:
            outside = "reflection" if self.perspective_edges == "crop" else "zeros"
            picture = functional.grid_sample(
                picture[None], grid[None], padding_mode=outside, align_corners=False
            )[0]
        picture = (picture * 255).round().clamp(0, 255).to(torch.uint8)
        if self.night != "none" and night_draw < self.night_p:
            of_night = torch.Generator().manual_seed(int(night_seed * 2**53))
            picture = NIGHTS[self.night](picture, of_night)
        return self._obstructed(picture, draws[19:24], generator)

    def _lit(self, picture: Tensor, draws: list[float]) -> Tensor:
        spread = (self.brightness, self.contrast, self.saturation)
        if not any(spread) and not self.hue:
            return picture
        brightness, contrast, saturation = (
            max(0.0, 1 + s * (2 * draw - 1)) for s, draw in zip(spread, draws[:3], strict=True)
        )
        picture = (picture * brightness).clamp(0, 1)
        mean = _grey(picture).mean()
        picture = (mean + contrast * (picture - mean)).clamp(0, 1)
        grey = _grey(picture)
        picture = (grey + saturation * (picture - grey)).clamp(0, 1)
        return turned_hue(picture, self.hue * (2 * draws[3] - 1)) if self.hue else picture

    def _grid(self, height: int, width: int, draws: list[float]) -> Tensor | None:
        """Where each pixel is taken from, `(H, W, 2)` in -1..1; None leaves all in place."""
        matrix = torch.eye(3, dtype=torch.float64)
        if self.perspective and draws[0] < self.perspective_p:
            matrix = self._tilted(draws[1:9]) @ matrix
        if self.rotation_deg:
            angle = math.radians(self.rotation_deg * (2 * draws[9] - 1))
            matrix = _turn(angle, width / height) @ matrix
        if self.resized_crop:
            matrix = self._crop(draws[10:14]) @ matrix
        if draws[14] < self.flip:
            matrix = matrix @ torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
        if torch.equal(matrix, torch.eye(3, dtype=torch.float64)):
            return None
        rows, columns = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places = torch.stack([x, y, torch.ones_like(x)], dim=-1).double() @ matrix.T
        return (places[..., :2] / places[..., 2:]).float()

    def _tilted(self, draws: list[float]) -> Tensor:
        corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
        inwards = self.perspective * torch.tensor(draws, dtype=torch.float64).view(4, 2)
        quad = corners * (1 - inwards)
        # Where a pixel of the result is taken from: the quad, or from quad to whole photo.
        if self.perspective_edges == "crop":
            return homography(corners, quad)
        return homography(quad, corners)

    def _crop(self, draws: list[float]) -> Tensor:
        area = self.resized_crop + draws[0] * (1 - self.resized_crop)
        low, high = (math.log(bound) for bound in RATIO)
        stretch = math.exp((low + draws[1] * (high - low)) / 2)
        wide, tall = min(1.0, math.sqrt(area) * stretch), min(1.0, math.sqrt(area) / stretch)
        x, y = (1 - wide) * (2 * draws[2] - 1), (1 - tall) * (2 * draws[3] - 1)
        return torch.tensor([[wide, 0, x], [0, tall, y], [0, 0, 1]], dtype=torch.float64)

    def _obstructed(
        self, picture: Tensor, draws: list[float], generator: torch.Generator
    ) -> Tensor:
        if draws[0] >= self.erasing:
            return picture
        height, width = picture.shape[1:]
        area = (self.erased[0] + draws[1] * (self.erased[1] - self.erased[0])) * height * width
        low, high = (math.log(bound) for bound in SHAPE)
        ratio = math.exp(low + draws[2] * (high - low))
        tall = max(1, min(height, round(math.sqrt(area / ratio))))
        wide = max(1, min(width, round(math.sqrt(area * ratio))))
        top, left = int(draws[3] * (height - tall + 1)), int(draws[4] * (width - wide + 1))
        noise = torch.randint(0, 256, (3, tall, wide), generator=generator, dtype=torch.uint8)
        picture[:, top : top + tall, left : left + wide] = noise
        return picture


def turned_hue(picture: Tensor, turn: float) -> Tensor:
    """Turn the hue of `(3, H, W)` in 0..1 by `turn` circles, in the YIQ plane.

    A rotation about grey, which is hue's circle to good approximation and takes one product.
    """
    to_yiq = torch.tensor([colorsys.rgb_to_yiq(*row) for row in torch.eye(3).tolist()]).T
    cosine, sine = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    matrix = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    return torch.einsum("ij,jhw->ihw", matrix, picture).clamp(0, 1)


def homography(source: Tensor, target: Tensor) -> Tensor:
    """The 3 x 3 matrix that takes four points `(4, 2)` to four others."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    system = torch.tensor(rows, dtype=torch.float64)
    solved = torch.linalg.solve(system, torch.tensor(right, dtype=torch.float64))
    return torch.cat([solved, torch.ones(1, dtype=torch.float64)]).view(3, 3)


def _turn(angle: float, aspect: float) -> Tensor:
    """A rotation in pixels, written in coordinates of -1..1."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor(
        [[cosine, -sine / aspect, 0], [sine * aspect, cosine, 0], [0, 0, 1]], dtype=torch.float64
    )


def _grey(picture: Tensor) -> Tensor:
    return torch.einsum("c,chw->hw", torch.tensor(LUMA), picture)

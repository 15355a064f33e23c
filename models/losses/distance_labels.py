"""Labels that know the map: a cell next to the right one is less wrong than one across the sea.

    target_j = exp(-(d_j - d_y) / tau) / sum over k of exp(-(d_k - d_y) / tau)

d_j is the great-circle distance in km from the photo to the mean position of cell j's photos, y the
true cell, tau the temperature in km ("haversine smoothing" of PIGEON, Haas et al., CVPR 2024,
https://arxiv.org/abs/2307.05845, which leaves out the denominator). The denominator makes it a
distribution and d_y cancels, so that target = softmax(-d / tau) and nothing overflows for a photo
far from its cell's mean. As tau goes to 0 the target becomes the cell with the nearest mean, which
for a photo near a border is not always its own.

Distances are chords of the unit sphere, |a - b|^2 = 2 - 2 a.b, the dot product in float64: in
float32 its rounding alone is up to a kilometre or two where a and b are close, in float64 0.2 m.
"""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from partitioning.geodesy import EARTH_RADIUS_KM, unit_vectors

CHUNK = 4096  # cells at a time: bounds the float64 temporaries


class DistanceLabels:
    """Soft labels over the cells of one level.

    It is no module, so that no cast of a model to bfloat16 can reach its positions; it moves to
    the device of the photos it is asked about.

    Args:
        lat: mean latitude of each cell `(C,)`, degrees.
        lon: mean longitude of each cell `(C,)`, degrees.
        tau_km: temperature, km.

    Raises:
        ValueError: `tau_km` is not above 0.
    """

    def __init__(self, lat: ArrayLike, lon: ArrayLike, tau_km: float) -> None:
        if not (tau_km > 0 and math.isfinite(tau_km)):
            raise ValueError(f"the distance of smoothed labels must be above 0 km, got {tau_km}")
        self.tau_km = tau_km
        self.cells = torch.from_numpy(unit_vectors(lat, lon))

    def __len__(self) -> int:
        return len(self.cells)

    def photo_vectors(self, lat: Tensor, lon: Tensor) -> Tensor:
        """Positions of photos in degrees, each `(B,)`, as points `(B, 3)` of the unit sphere."""
        phi, theta = torch.deg2rad(lat.double()), torch.deg2rad(lon.double())
        return torch.stack(
            [theta.cos() * phi.cos(), theta.sin() * phi.cos(), phi.sin()], dim=1
        ).detach()

    def distances_km(self, photos: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Distance of photos, unit vectors `(B, 3)`, from cells start..stop, float32 `(B, c)`."""
        if self.cells.device != photos.device:
            self.cells = self.cells.to(photos.device)
        half = photos.new_full((1, 1), 0.5)
        half_chord_squared = torch.addmm(half, photos, self.cells[start:stop].T, alpha=-0.5)
        return half_chord_squared.clamp_(0, 1).float().sqrt_().asin_().mul_(2 * EARTH_RADIUS_KM)

    def log_weights(self, photos: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """-d / tau `(B, c)`: the log of the target but for a constant of the photo."""
        return self.distances_km(photos, start, stop).div_(-self.tau_km)

    def targets(self, lat: Tensor, lon: Tensor) -> Tensor:
        """Targets float32 `(B, C)` of photos at positions in degrees, each `(B,)`."""
        photos = self.photo_vectors(lat, lon)
        logs = torch.empty(len(photos), len(self), device=photos.device)
        for start in range(0, len(self), CHUNK):
            piece = slice(start, start + CHUNK)
            logs[:, piece] = self.log_weights(photos, piece.start, piece.stop)
        return logs.softmax(dim=1)

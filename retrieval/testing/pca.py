"""Shorter descriptors: principal components, optionally whitened, then length 1 again.

    y = (x - mean) E^T [/ sqrt(variance)]

with the rows of E the directions in which the training descriptors vary most. Jegou and Chum,
"Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening", 2012.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partitioning.atomic_file import atomic_path

FLOOR = 1e-9  # of a variance, relative to the greatest: noise is not blown up by whitening
Descriptors = NDArray[np.float32]


@dataclass(frozen=True)
class PCA:
    """A fitted projection.

    Attributes:
        mean: `(D,)`.
        components: `(K, D)`, orthonormal rows, the most varying first.
        variances: `(K,)`, of the training descriptors along each.
        is_whitened: Whether each direction is divided by its deviation.
    """

    mean: Descriptors
    components: Descriptors
    variances: Descriptors
    is_whitened: bool = False

    @classmethod
    def fit(cls, descriptors: Descriptors, dim: int, is_whitened: bool = False) -> "PCA":
        """Fit to training descriptors.

        Args:
            descriptors: `(N, D)`.
            dim: K.
            is_whitened: See the class.

        Raises:
            ValueError: `dim` is not in 1..min(N - 1, D), or a value is not finite.
        """
        count, width = descriptors.shape
        if not 1 <= dim <= min(count - 1, width):
            raise ValueError(
                f"pca_dim {dim}: from {count} descriptors of {width} numbers it can be 1 to "
                f"{min(count - 1, width)}; give more photos or a smaller dimension"
            )
        if not np.isfinite(descriptors).all():
            raise ValueError("descriptors must be finite numbers")
        mean = descriptors.mean(axis=0, dtype=np.float64)
        centred = descriptors - mean
        # The smaller of the two products: photos or numbers, whichever are fewer.
        if count < width:
            values, vectors = np.linalg.eigh(centred @ centred.T)
            directions = (centred.T @ vectors[:, ::-1][:, :dim]).T
            directions /= np.linalg.norm(directions, axis=1, keepdims=True).clip(min=1e-12)
        else:
            values, vectors = np.linalg.eigh(centred.T @ centred)
            directions = vectors[:, ::-1][:, :dim].T
        variances = values[::-1][:dim].clip(min=0) / (count - 1)
        mean, directions, variances = (a.astype(np.float32) for a in (mean, directions, variances))
        return cls(mean, directions, variances, is_whitened)

    @property
    def dim(self) -> int:
        """K."""
        return len(self.components)

    def __call__(self, descriptors: Descriptors) -> Descriptors:
        """Project `(N, D)` to `(N, K)`, each of length 1.

        Raises:
            ValueError: descriptors of another width.
        """
        if descriptors.shape[1] != len(self.mean):
            raise ValueError(
                f"descriptors of {descriptors.shape[1]} numbers, fitted to {len(self.mean)}"
            )
        projected = (descriptors - self.mean) @ self.components.T
        if self.is_whitened:
            floor = FLOOR * float(self.variances.max(initial=0)) + 1e-30
            projected /= np.sqrt(np.maximum(self.variances, floor))
        return projected / np.linalg.norm(projected, axis=1, keepdims=True).clip(min=1e-12)

    def save(self, path: str | Path) -> None:
        """Write it as `.npz`, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                mean=self.mean,
                components=self.components,
                variances=self.variances,
                is_whitened=self.is_whitened,
            )

    @classmethod
    def load(cls, path: str | Path) -> "PCA":
        """Read what `save` wrote; plain arrays, nothing that could run.

        Raises:
            ValueError: there is no such file, or it is something else.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                arrays = [held[name].astype(np.float32) for name in _ARRAYS]
                is_whitened = bool(held["is_whitened"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"{path}: no saved PCA: {error}") from None
        mean, components, variances = arrays
        if components.shape != (len(variances), len(mean)) or mean.ndim != 1:
            raise ValueError(f"{path}: arrays of a PCA that do not fit together")
        return cls(mean, components, variances, is_whitened)


_ARRAYS = ("mean", "components", "variances")

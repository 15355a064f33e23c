"""posteriors.npz: every photo's posterior, as `test_vit.py --save_posteriors` writes it.

Arrays: posterior `(N, C)` over the finest cells; true_class int `(N,)`, -1 = in no cell; error_km
`(N,)` of the answer; or in its place lat, lon `(N,)` of the truth and cell_lat, cell_lon `(C,)`,
the answer then being the likeliest cell's mean. Others are not looked at. No pickles are read.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray, IntArray
from partitioning.geodesy import haversine_km

POSITIONS = ("lat", "lon", "cell_lat", "cell_lon")
CHUNK = 1024  # photos checked at a time


class Posteriors(NamedTuple):
    """A test's posteriors.

    Attributes:
        posterior: `(N, C)`, rows sum to 1.
        true_cells: finest class of the truth `(N,)`, -1 = in no cell.
        errors_km: distance of each answer from the truth `(N,)`.
    """

    posterior: FloatArray
    true_cells: IntArray
    errors_km: FloatArray


def read_posteriors(path: Path) -> Posteriors:
    """Read and check a posteriors.npz.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it lacks an array, or its arrays do not fit each other.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: write it with `python test_vit.py --model DIR ... --save_posteriors`"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "img_id"}
        return _checked(arrays)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a test's posteriors ({error}): write it with `python test_vit.py "
            "--model DIR ... --save_posteriors`"
        ) from error


def _checked(arrays: dict[str, NDArray]) -> Posteriors:
    posterior, true_cells = arrays["posterior"], arrays["true_class"]
    if posterior.ndim != 2 or 0 in posterior.shape:
        raise ValueError(f"posterior is {posterior.shape}, not (photos, cells)")
    photos, cells = posterior.shape
    if true_cells.shape != (photos,) or not np.issubdtype(true_cells.dtype, np.integer):
        raise ValueError(f"true_class is {true_cells.dtype} {true_cells.shape} for {photos} photos")
    if true_cells.min() < -1 or true_cells.max() >= cells:
        raise ValueError(f"a true_class lies outside -1..{cells - 1}")
    for start in range(0, photos, CHUNK):
        piece = posterior[start : start + CHUNK].astype(np.float64)
        if not (piece >= 0).all() or not np.allclose(piece.sum(axis=1), 1, atol=1e-3):
            raise ValueError("a posterior is negative or does not sum to 1")
    errors_km = arrays.get("error_km")
    if errors_km is None:
        lat, lon, cell_lat, cell_lon = (arrays[name] for name in POSITIONS)
        best = posterior.argmax(axis=1)
        errors_km = haversine_km(cell_lat[best], cell_lon[best], lat, lon)
    if errors_km.shape != (photos,) or not (errors_km >= 0).all():
        raise ValueError("error_km is not one distance a photo")
    return Posteriors(posterior, true_cells.astype(np.int64), errors_km)

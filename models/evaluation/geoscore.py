"""GeoScore: 5000 points for the very spot, fewer with distance, as the guessing game counts.

5000 exp(-d / 1492.7 km) for a photo placed d km from the truth, averaged over the photos: the main
figure of OpenStreetView-5M (Astruc et al., CVPR 2024, https://arxiv.org/abs/2404.18873, after
PIGEON, Haas et al., CVPR 2024, https://arxiv.org/abs/2307.05845, section on the game).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FULL_SCORE, DECAY_KM = 5000.0, 1492.7


def geoscores(errors_km: ArrayLike) -> NDArray[np.float64]:
    """Points `(N,)` of photos placed `errors_km` `(N,)` from the truth; no answer (inf) gets 0."""
    return FULL_SCORE * np.exp(-np.asarray(errors_km, dtype=np.float64) / DECAY_KM)

"""What the training loss of a geocell model is made of; imports nothing heavy.

The formulas stand in models/losses/geocell.py and the modules it names.
"""

from dataclasses import dataclass
from math import inf

RETRIEVAL = ("none", "multi_similarity", "cosface")
# Which way the levels' divergence is taken, see models/losses/nested_consistency.py.
DIRECTIONS = ("symmetric", "fine_to_coarse", "coarse_to_fine")
# Answers to cells of unequal size, see models/losses/class_balance.py: usual strength, least,
# below.
IMBALANCE = {
    "none": (0.0, 0.0, inf),
    "inverse_frequency": (0.5, 0.0, inf),
    "effective_number": (0.999, 0.0, 1.0),
    "logit_adjustment": (1.0, 0.0, inf),
    "focal": (2.0, 0.0, inf),
}


@dataclass(frozen=True)
class LossSettings:
    """Plain types, for a run's config; the defaults are the seed's loss.

    Attributes:
        level_weights: of coarse, middle and fine.
        scene_weight: of the scene head.
        label_smoothing: share of the target spread evenly over all cells of a level.
        smoothing_km: temperature of distance-smoothed labels, km; None = the true cell alone.
        smooth_all_levels: smooth the coarser levels too, not the finest alone. Their cells are so
            large that a photo is often nearer to the mean of a neighbour than to its own's, and
            the label then names the wrong cell.
        consistency: weight of the levels' divergence; 0 = off.
        consistency_direction: one of `DIRECTIONS`.
        imbalance: one of `IMBALANCE`.
        imbalance_strength: its exponent, b, tau or gamma; None = the usual one.
        retrieval: loss of the descriptor, one of `RETRIEVAL`; "none" = off.
        retrieval_weight: its weight.

    Raises:
        ValueError: a setting is out of range.
    """

    level_weights: tuple[float, ...] = (0.5, 0.3, 0.2)
    scene_weight: float = 0.5
    label_smoothing: float = 0.0
    smoothing_km: float | None = None
    smooth_all_levels: bool = False
    consistency: float = 0.0
    consistency_direction: str = "symmetric"
    imbalance: str = "none"
    imbalance_strength: float | None = None
    retrieval: str = "none"
    retrieval_weight: float = 1.0

    def __post_init__(self) -> None:
        if len(self.level_weights) != 3:
            raise ValueError(
                f"coarse, middle and fine need three weights, not {self.level_weights}"
            )
        weights = (*self.level_weights, self.scene_weight, self.consistency, self.retrieval_weight)
        if not all(0 <= weight < inf for weight in weights):
            raise ValueError(f"the weights of a loss must be 0 or more, got {weights}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label smoothing must lie in [0, 1), got {self.label_smoothing}")
        if self.smoothing_km is not None and not 0 < self.smoothing_km < inf:
            raise ValueError(f"labels are smoothed over more than 0 km, not {self.smoothing_km}")
        _check_known("consistency_direction", self.consistency_direction, DIRECTIONS)
        _check_known("imbalance", self.imbalance, tuple(IMBALANCE))
        _check_known("retrieval", self.retrieval, RETRIEVAL)
        _, least, below = IMBALANCE[self.imbalance]
        if not least <= self.strength < below:
            raise ValueError(
                f"the strength of {self.imbalance} must lie in [{least:g}, {below:g}), "
                f"got {self.strength}"
            )

    @property
    def strength(self) -> float:
        """Strength of the answer to imbalance: the one set, or the usual one."""
        if self.imbalance_strength is not None:
            return self.imbalance_strength
        return IMBALANCE[self.imbalance][0]


def _check_known(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{setting} must be one of {', '.join(known)}, got {value!r}")

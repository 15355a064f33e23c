"""Learning-rate schedules: a warm-up, then a cosine; one-cycle; or none.

`rate(step)` multiplies the peak learning rate in optimiser step 0, 1, ... of `total`; with w
steps of warm-up:

    cosine     (s + 1) / w for s < w, then (1 + cos(pi (s - w) / (total - w))) / 2
    one_cycle  from 1/25 up to 1 by half a cosine in the first 30%, then down to 1/250,000
               (Smith & Topin, "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120, in the
               form of torch.optim.lr_scheduler.OneCycleLR)
    constant   (s + 1) / w for s < w, then 1
"""

import math
from collections.abc import Callable

SCHEDULES = ("cosine", "one_cycle", "constant")
_CLIMB, _FIRST, _LAST = 0.3, 1 / 25, 1 / 250_000  # one-cycle


def schedule(name: str, total: int, warmup_share: float = 0.05) -> Callable[[int], float]:
    """Return `rate(step)`.

    Args:
        name: one of `SCHEDULES`.
        total: optimiser steps of the whole run.
        warmup_share: share of them that the rate climbs (cosine, constant); at least one step.

    Raises:
        ValueError: no such schedule.
    """
    warmup = max(1, round(warmup_share * total))

    def warmed(step: int, after: float) -> float:
        return (step + 1) / warmup if step < warmup else after

    def cosine(step: int) -> float:
        return warmed(step, _cosine_between(1, 0, (step - warmup) / max(1, total - warmup)))

    def one_cycle(step: int) -> float:
        peak, end = _CLIMB * total - 1, total - 1
        if step <= peak:
            return _cosine_between(_FIRST, 1, step / max(peak, 1e-9))
        return _cosine_between(1, _LAST, (step - peak) / max(end - peak, 1e-9))

    rates = {
        "cosine": cosine,
        "one_cycle": one_cycle,
        "constant": lambda step: warmed(step, 1.0),
    }
    if name not in rates:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
    return rates[name]


def _cosine_between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (share 1 and beyond)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

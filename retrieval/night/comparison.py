"""How models do by day and by night, whether one does better than another, what night costs each.

Recall comes with Wilson's interval. Models are compared on the same queries: the difference with
its paired bootstrap interval, and McNemar's exact test (models/evaluation/paired_test.py). So are
queries by day and the SYNTHETIC night copies made of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.paired_test import Difference, compare
from retrieval.evaluate import Share, recall_of_ranks
from retrieval.night.conditions import CONDITIONS, COPIED

Ranks = Mapping[str, NDArray[np.int64]]


class Row(NamedTuple):
    """One model in one condition.

    Attributes:
        model: Its name.
        condition: day, night, SYNTHETIC night (copies of photos by day), or all but such copies.
        shares: k -> recall.
        differences: k -> it minus the first model; none of the first itself.
    """

    model: str
    condition: str
    shares: dict[int, Share]
    differences: dict[int, Difference]


class Cost(NamedTuple):
    """What night costs one model.

    Attributes:
        model: Its name.
        differences: k -> recall of the night copies minus that of the queries they were made of.
    """

    model: str
    differences: dict[int, Difference]


def compare_by_condition(ranks: Ranks, names: NDArray[np.str_], depths: Sequence[int]) -> list[Row]:
    """Compare models with the first one.

    Args:
        ranks: Model -> rank of each query's first right answer `(Q,)`, from 0, -1 for none.
        names: `(Q,)`, each query's condition; "" counts among all only.
        depths: The k of R@k.

    Returns:
        A row for each model and condition that has a query. All is left out where there are copies
        and it would be those by day, or those by night, once more.
    """
    rows = []
    first = next(iter(ranks))
    is_copy = names == COPIED
    for condition in (*CONDITIONS, COPIED, "all"):
        chosen = ~is_copy if condition == "all" else names == condition
        is_one = any((names[chosen] == one).all() for one in CONDITIONS)
        is_again = condition == "all" and is_copy.any() and is_one
        if not chosen.any() or is_again:
            continue
        for model, found in ranks.items():
            differences = {}
            if model != first:
                differences = _compared(ranks[first][chosen], found[chosen], depths)
            shares = recall_of_ranks(found[chosen], depths)
            rows.append(Row(model, condition, shares, differences))
    return rows


def cost_of_night(ranks: Ranks, pairs: NDArray[np.int64], depths: Sequence[int]) -> list[Cost]:
    """Compare night copies with the queries by day that they were made of.

    Args:
        ranks: As `compare_by_condition`.
        pairs: `(P, 2)`, rows of a query and of its night copy.
        depths: The k of R@k.

    Returns:
        A cost for each model; none where there is no pair.
    """
    if not len(pairs):
        return []
    day, night = pairs.T
    return [Cost(model, _compared(r[day], r[night], depths)) for model, r in ranks.items()]


def _compared(
    a: NDArray[np.int64], b: NDArray[np.int64], depths: Sequence[int]
) -> dict[int, Difference]:
    """Recall of ranks `b` minus that of ranks `a`, by k."""
    first, second = (np.where(ranks >= 0, ranks + 1.0, np.inf) for ranks in (a, b))
    return {int(k): d for k, d in compare(first, second, thresholds=depths).items()}

"""The ablation study's table: is the whole model better than itself with one thing taken away?

Both answer the same test tiles. The interval of a difference comes from a bootstrap of whole blocks
of tiles: neighbouring tiles are alike, and drawing them one by one, as
`models.evaluation.paired_test` does, makes intervals too narrow. That one and McNemar's p, which
rests on the same assumption, stand beside it. "Beats" is said where the blocks' interval lies above
0 and p is below 0.05. A difference no larger than that between two seeds of the same settings may
be the seed's.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluation.paired_test import DRAWS, Difference, compare, median_difference
from models.evaluation.prediction_csv import HIERARCHY, TRUTH_COLUMNS

SHOWN_KM = (200.0, 750.0, 2500.0)  # a tile's side is 111 km: nothing finer can be told
SIGNIFICANT = 0.05


class Answered(NamedTuple):
    """One model's answers to the N test tiles, in an order that all models share.

    Attributes:
        errors_km: `(N,)`.
        blocks: number of the block that each tile lies in `(N,)`.
    """

    errors_km: NDArray[np.float64]
    blocks: NDArray[np.int64]


class Compared(NamedTuple):
    """The whole model minus an ablation, at one distance.

    Attributes:
        km: the distance.
        paired: counts, tile-by-tile interval and McNemar's p; A is the ablation, B the whole.
        low: lower end of the blocks' 95% interval of the difference, a share.
        high: upper end.
    """

    km: float
    paired: Difference
    low: float
    high: float

    @property
    def points(self) -> float:
        """Difference, percentage points; above 0 the whole model is better."""
        return 100 * (self.paired.hits_b - self.paired.hits_a) / self.paired.photos

    @property
    def verdict(self) -> str:
        """What the whole model does to the ablation: "beats", "does not beat", "loses to"."""
        if self.paired.p < SIGNIFICANT and self.low > 0:
            return "beats"
        if self.paired.p < SIGNIFICANT and self.high < 0:
            return "loses to"
        return "does not beat"


def answers_of(predictions: pd.DataFrame, block_degrees: float) -> Answered:
    """The hierarchical answers of `prediction_csv.read_predictions`, sorted by tile."""
    rows = predictions[predictions["p_key"] == HIERARCHY].sort_values("img_id")
    lat, lon = (rows[name].to_numpy(np.float64) for name in TRUTH_COLUMNS)
    # Blocks are counted from the picture's north-western corner.
    row, column = np.floor((90 - lat) / block_degrees), np.floor((lon + 180) / block_degrees)
    blocks = np.unique(np.stack([row, column], axis=1), axis=0, return_inverse=True)[1]
    return Answered(rows["error_km"].to_numpy(np.float64), blocks.ravel())


def block_interval(
    gain: NDArray[np.float64], blocks: NDArray[np.int64], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean of `gain` `(N,)`, whole blocks being drawn."""
    sums, counts = np.bincount(blocks, gain), np.bincount(blocks)
    equal = np.full(len(counts), 1 / len(counts))
    drawn = np.random.default_rng(seed).multinomial(len(counts), equal, DRAWS)
    means = (drawn @ sums) / (drawn @ counts)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def compare_answers(ablation: Answered, whole: Answered) -> list[Compared]:
    """Compare at each of `SHOWN_KM`.

    Raises:
        ValueError: they did not answer the same tiles.
    """
    if not np.array_equal(ablation.blocks, whole.blocks):
        raise ValueError("the models were tested on different tiles: remove their test folders")
    paired = compare(ablation.errors_km, whole.errors_km, SHOWN_KM)
    found = []
    for km, difference in paired.items():
        gain = (whole.errors_km <= km).astype(np.float64) - (ablation.errors_km <= km)
        found.append(Compared(km, difference, *block_interval(gain, whole.blocks)))
    return found


def rows_of(
    answers: Mapping[str, Answered], facts: Mapping[str, Mapping[str, Any]], whole: str
) -> list[dict[str, Any]]:
    """One row a model, plain types; `facts` go into its row as they are."""
    rows = []
    for name, answered in answers.items():
        errors_km = answered.errors_km
        row: dict[str, Any] = {"model": name, **facts[name]}
        for km in SHOWN_KM:
            row[f"within_{km:g}_km_percent"] = 100 * float((errors_km <= km).mean())
        row["median_km"] = float(np.median(errors_km))
        if name != whole:
            for found in compare_answers(answered, answers[whole]):
                row |= _plain(found)
            median = median_difference(errors_km, answers[whole].errors_km)
            names = ("median_change_km", "median_change_low_km", "median_change_high_km")
            row |= dict(zip(names, median, strict=True))
        rows.append(row)
    return rows


def _plain(found: Compared) -> dict[str, Any]:
    figures = {
        "gain_points": found.points,
        "gain_low": 100 * found.low,
        "gain_high": 100 * found.high,
        "gain_low_by_tile": 100 * found.paired.low,
        "gain_high_by_tile": 100 * found.paired.high,
        "only_whole": found.paired.only_b,
        "only_ablation": found.paired.only_a,
        "mcnemar_p": found.paired.p,
        "verdict": found.verdict,
    }
    return {f"{name}_{found.km:g}_km": value for name, value in figures.items()}


def markdown_table(rows: list[dict[str, Any]], whole: str) -> str:
    """The table for people: shares, and the whole model's gain over each ablation."""
    heads = ["model", *(f"% < {km:g} km" for km in SHOWN_KM), "median km"]
    heads += [f"whole - this, < {km:g} km: points [95%], p" for km in SHOWN_KM]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["model"]]
        cells += [f"{row[f'within_{km:g}_km_percent']:.1f}" for km in SHOWN_KM]
        cells.append(f"{row['median_km']:,.0f}")
        cells += [_gain(row, km) if row["model"] != whole else "" for km in SHOWN_KM]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _gain(row: dict[str, Any], km: float) -> str:
    gain, low, high, p = (
        row[f"{name}_{km:g}_km"] for name in ("gain_points", "gain_low", "gain_high", "mcnemar_p")
    )
    return f"{gain:+.1f} [{low:+.1f} to {high:+.1f}], {p:.2g}"


def verdicts(rows: list[dict[str, Any]], whole: str, same: str) -> list[str]:
    """A sentence an ablation: what the whole model beats, and what it does not.

    Args:
        rows: of `rows_of`.
        whole: name of the whole model.
        same: name of the run that differs by its seed alone, if it is there.
    """
    of_seed = next((row for row in rows if row["model"] == same), {})
    sentences = []
    for row in rows:
        if row["model"] in (whole, same):
            continue
        said = [_verdict(row, km, of_seed) for km in SHOWN_KM]
        sentences.append(f"{row['model']}: the whole model {'; '.join(said)}.")
    if of_seed:
        gains = ", ".join(f"{abs(of_seed[f'gain_points_{km:g}_km']):.1f}" for km in SHOWN_KM)
        sentences.append(
            f"Another seed of the same settings moves the shares by {gains} points: one pair of "
            "runs, so a rough measure of what chance in training does."
        )
    return sentences


def _verdict(row: dict[str, Any], km: float, of_seed: dict[str, Any]) -> str:
    name = f"gain_points_{km:g}_km"
    gain, verdict = row[name], row[f"verdict_{km:g}_km"]
    within_seeds = bool(of_seed) and abs(gain) <= abs(of_seed[name]) and verdict != "does not beat"
    doubt = ", no more than another seed does" if within_seeds else ""
    return f"{verdict} it within {km:g} km ({gain:+.1f} points{doubt})"

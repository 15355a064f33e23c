"""Does training help? Untrained and trained features, asked the same queries of unseen houses.

    python -m retrieval.learning --out runs/learning [--aggregation gem netvlad]

Makes a SYNTHETIC town (data/toy/city.py), trains on one district and tests on another, whose houses
the model has never seen, by day and by night. The difference comes with its paired interval.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.paired_test import difference_interval, mcnemar
from retrieval.evaluate import Share, share_of
from retrieval.training.recipe import PlaceRecipe

if TYPE_CHECKING:
    from models.places.place_model import PlaceModel

TOWN: dict[str, Any] = {
    "blocks": (3, 3),
    "queries": 600,
    "size": (120, 160),
    "night_share": 0.3,
    "seed": 2,
}
RECIPE = PlaceRecipe(
    img_size=(80, 112),
    clusters=16,
    trained_blocks=6,
    queries_per_epoch=300,
    cache_refresh_rate=150,
    negatives=4,
    negatives_pool=300,
    lr=5e-4,
    epochs=4,
    patience=4,
    device="cpu",
)


class Compared(NamedTuple):
    """First answers of both, of the same queries.

    Attributes:
        queries: Number of them.
        before, after: R@1 of the untrained and the trained features.
        only_before, only_after: Queries that only one of them answered rightly.
    """

    queries: int
    before: Share
    after: Share
    only_before: int
    only_after: int

    def __str__(self) -> str:
        low, high = difference_interval(self.only_before, self.only_after, self.queries)
        p = mcnemar(self.only_before, self.only_after)
        gain = self.after.share - self.before.share
        return (
            f"R@1 of {self.queries} queries: untrained {_text(self.before)}, trained "
            f"{_text(self.after)}: {100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], "
            f"McNemar p {p:.1g}"
        )


def compare_with_untrained(folder: Path, aggregation: str = "gem", split: str = "test") -> Compared:
    """Train on the town in `folder`, made there where it is missing, and compare.

    Args:
        folder: For town and runs.
        aggregation: To train.
        split: The district to test in: test has been seen by nothing, val chose the weights.
    """
    from data.toy.city import make_toy_city
    from models.training.checkpoint import checkpoints_in
    from retrieval.test import build_model
    from retrieval.train import engine_of, train

    town = folder / "town"
    if not town.exists():
        make_toy_city(town, **TOWN)
    out = folder / aggregation
    recipe = replace(
        RECIPE, data=str(town), out=str(out), aggregation=aggregation,
        resume=bool(checkpoints_in(out / "checkpoints")),
    )  # fmt: skip
    options = {"model": None, "checkpoint": None, "data": town, "split": split}
    untrained = build_model(options, recipe, engine_of(recipe))
    before = first_answers(untrained, town, folder / f"{aggregation}-untrained", split)
    trained = train(recipe)
    assert trained is not None
    after = first_answers(trained, town, folder / f"{aggregation}-trained", split)
    shares = [share_of(int(right.sum()), len(right)) for right in (before, after)]
    only_before, only_after = int((before & ~after).sum()), int((after & ~before).sum())
    return Compared(len(before), shares[0], shares[1], only_before, only_after)


def first_answers(model: PlaceModel, town: Path, out: Path, split: str) -> NDArray[np.bool_]:
    """Whether the first answer to each query is right, `(Q,)`."""
    from data.places import read_places
    from retrieval.descriptor_cache import Engine
    from retrieval.testing.evaluation import Job, evaluate
    from retrieval.testing.place_search import SearchSettings

    result = evaluate(model, Job(town, out, split), SearchSettings(), Engine())
    positives = read_places(town, split).positives
    rows = result.answers.found.rows[:, 0]
    return np.array([row in positives.of(query) for query, row in enumerate(rows)])


def _text(share: Share) -> str:
    return f"{100 * share.share:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def main(arguments: list[str] | None = None) -> int:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.learning",
        description="Train on a made-up town and compare with untrained features.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="for the town and the runs")
    add("--aggregation", nargs="+", default=["gem", "netvlad"], help="to train, one by one")
    add("--split", default="test", choices=("val", "test"), help="district to test in")
    options = parser.parse_args(arguments)
    for aggregation in options.aggregation:
        began = perf_counter()
        try:
            compared = compare_with_untrained(options.out, aggregation, options.split)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        minutes = (perf_counter() - began) / 60
        sys.stdout.write(f"{aggregation}, SYNTHETIC town, {minutes:.1f} min: {compared}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

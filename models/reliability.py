"""Can a model's confidence be believed? Plots and figures of a test, by one command.

    python -m models.reliability --model runs/NAME --shards DIR --output runs/NAME/test
    python -m models.reliability --model runs/NAME --predictions runs/NAME/test/posteriors.npz

The first predicts packed photos; the second reads what `python test_vit.py --model runs/NAME ...
--save_posteriors` wrote. Both write

- reliability.png: stated probability against what came true, with the probabilities as they were
  before the temperature beside them (models/evaluation/calibration_error.py);
- abstention.png: accuracy against the share of photos answered (models/evaluation/abstention.py);
- coverage.png: how often regions of 50 to 99% held the truth, and how many cells they took;
- reliability.json: every figure of them, shares with 95% intervals.

The photos must be others than those that calibrated the model. Without --model the posteriors are
taken as they are, and regions as uncalibrated.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from models.evaluation.abstention import (
    Curve,
    accuracy_when_answering,
    area_under_risk,
    least_area_under_risk,
)
from models.evaluation.calibration import Calibration
from models.evaluation.calibration_error import (
    Bin,
    expected_calibration_error,
    largest_calibration_error,
)
from models.evaluation.intervals import share_of
from models.evaluation.judgement import Reliability, judge
from models.evaluation.posterior_file import Posteriors, read_posteriors
from partitioning.atomic_file import atomic_path

ANSWERED = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SHOWN_MASS = 0.9  # of the region in the printed line


def as_plain(found: Reliability) -> dict[str, Any]:
    """What reliability.json holds: plain types."""
    return {
        "photos": len(next(iter(found.right.values()))),
        "calibration_error": {
            name: {
                "expected": expected_calibration_error(bins),
                "largest": largest_calibration_error(bins),
                "bins": [_plain_bin(each) for each in bins],
            }
            for name, bins in {**found.bins, "before the temperature": found.before}.items()
            if bins
        },
        "abstention": {
            f"{km:g} km": {
                "area_under_risk": area_under_risk(curve),
                "least_possible": least_area_under_risk(found.right[km]),
                "error_when_answering_all": float(1 - curve.accuracy[-1]),
                "answered": [_plain_answered(curve, share) for share in ANSWERED],
            }
            for km, curve in found.curves.items()
        },
        "regions": [{**each._asdict(), "share": each.share._asdict()} for each in found.regions],
        "floor": found.floor,
    }


def _plain_bin(each: Bin) -> dict[str, Any]:
    return {**each._asdict(), "right": each.right._asdict()}


def _plain_answered(curve: Curve, share: float) -> dict[str, Any]:
    count, accuracy = accuracy_when_answering(curve, share)
    # Among equals in confidence the hits are a mean over their orders: the nearest whole number.
    within = share_of(round(accuracy * count), count)
    least = float(curve.confidence[count - 1])
    return {"share": share, "least_confidence": least, "within": within._asdict()}


def write(found: Reliability, output: Path) -> list[Path]:
    """Write the plots and reliability.json; return their paths."""
    from models.evaluation.calibration_plots import draw_abstention, draw_coverage, draw_reliability

    paths = [output / f"{name}.png" for name in ("reliability", "abstention", "coverage")]
    for draw, path in zip((draw_reliability, draw_abstention, draw_coverage), paths, strict=True):
        draw(found, path)
    with atomic_path(output / "reliability.json") as temporary:
        temporary.write_text(json.dumps(as_plain(found), indent=2))
    return [*paths, output / "reliability.json"]


def predicted(model: Path, shards: Path, output: Path) -> Posteriors:
    """Predict packed photos.

    Raises:
        ValueError, OSError: model or shards cannot be used; the message says why.
    """
    from models.bundles.bundle import Bundle

    bundle = Bundle.open(model)  # before torch is imported: a wrong path should not cost seconds

    from models.evaluation.accuracy import HIERARCHICAL
    from models.evaluation.evaluate import evaluate
    from models.predict import open_photos, predict_batches

    photos = open_photos(bundle, None, None, None, shards, output)
    unreadable: list[str] = []
    test = evaluate(bundle, predict_batches(bundle, photos, unreadable), keep_posterior=True)
    if unreadable:
        sys.stderr.write(f"{len(unreadable)} photos left out: {', '.join(unreadable[:3])}\n")
    return Posteriors(test.posterior, test.true_cells, test.answers[HIERARCHICAL].errors_km)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.reliability", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="model bundle, for its calibration")
    add("--predictions", type=Path, metavar="F", help="posteriors.npz of a test")
    add("--shards", type=Path, metavar="DIR", help="packed photos to predict, instead")
    add("--output", type=Path, metavar="DIR", help="where plots go; default: MODEL/test")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if bool(parsed.predictions) == bool(parsed.shards) or (parsed.shards and not parsed.model):
        parser.error("give --predictions (and --model), or --shards and --model")
    output = parsed.output or (parsed.model / "test" if parsed.model else parsed.predictions.parent)
    try:
        calibration = None
        if parsed.model:
            calibration = Calibration.read(parsed.model / "calibration.json")
        test = (
            read_posteriors(parsed.predictions)
            if parsed.predictions
            else predicted(parsed.model, parsed.shards, output)
        )
        found = judge(test, calibration)
        paths = write(found, output)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{summary(found)}\nresults: {', '.join(map(str, paths))}\n")
    return 0


def summary(found: Reliability) -> str:
    """One line for the user."""
    (region,) = (each for each in found.regions if each.mass == SHOWN_MASS)
    share = region.share
    return (
        f"{share.n} photos: expected calibration error "
        f"{expected_calibration_error(found.bins['adaptive']):.3f}; regions of {region.mass:.0%} "
        f"held {share.share:.1%} [{share.low:.1%}-{share.high:.1%}], median "
        f"{region.median_cells:.0f} cells"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Test a geocell model: how many photos it places within 1, 25, 200, 750 and 2500 km.

    python test_vit.py --model runs/NAME --images DIR --csv F      photos and a table of positions
    python test_vit.py --model runs/NAME --shards DIR              packed shards
    python test_vit.py --protocol im2gps3k --model ...             a benchmark, its count asserted
    python test_vit.py --compare A.csv B.csv                       two tests of the same photos
    python test_vit.py --compare runs/A runs/B --shards DIR        two models, tested and compared

Rows: each level, the levels together, and a prior that looks at no photo; then photos by authors
not in training, by scene and by continent. Every share with its count and 95% interval. Writes
report.json, table.csv, table.md, predictions.csv, predictions.json, errors_cdf.png, world.png and
panel.png to --out.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.evaluation.evaluate import Evaluation
    from models.predict import Photos


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="model bundle")
    add("--images", type=Path, metavar="DIR", help="folder of photos, named by id")
    add("--csv", type=Path, metavar="F", help="table of id, lat, lon (IMG_ID, LAT, LON)")
    add("--seg", type=Path, metavar="DIR", help="folder of class-index maps, named by id")
    add("--shards", type=Path, metavar="DIR", help="shards, instead of --images and --csv")
    add("--protocol", metavar="NAME", help="im2gps, im2gps3k, yfcc4k, yfcc25600 or osv5m")
    add("--strict", action="store_true", help="an error, not a warning, where its count is wrong")
    add("--train_csv", type=Path, metavar="F", help="training photos: authors, names of areas")
    add("--train_shards", type=Path, metavar="DIR", help="the same from the training shards")
    add("--compare", type=Path, nargs=2, metavar=("A", "B"), help="predictions.csv, or models")
    add("--crops", type=int, choices=(1, 5, 10), default=1, help="crops averaged; 10 mirrors too")
    add("--decode", choices=("mean", "local"), default="mean", help="of a cell, or about it")
    add("--save_posteriors", action="store_true", help="write posteriors.npz, 4 bytes a cell")
    add("--out", type=Path, metavar="DIR", help="where results go; default MODEL/test")
    add("--batch_size", type=int, default=64, help="photos in a batch")
    add("--workers", type=int, default=2, help="processes that load photos")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    return parser


def evaluate(parsed: argparse.Namespace, model: Path, out: Path) -> dict[str, Any]:
    """Predict, print the tables, write the results; return what report.json holds.

    Raises:
        ValueError, OSError: what the user gave cannot be tested; the message says why.
    """
    from data.benchmarks import assert_count, describe, get_protocol
    from models.bundles.bundle import Bundle

    protocol = get_protocol(parsed.protocol) if parsed.protocol else None
    bundle = Bundle.open(model)  # before torch is imported: a wrong path should not cost seconds

    from models.evaluation.evaluate import evaluate as evaluate_batches
    from models.evaluation.evaluate import write_posteriors
    from models.evaluation.report import summarise
    from models.evaluation.training_photos import training_photos
    from models.predict import open_photos, predict_batches

    training = training_photos(model, parsed.train_csv, parsed.train_shards)
    sources = parsed.images, parsed.csv, parsed.seg, parsed.shards
    photos = open_photos(bundle, *sources, out, parsed.crops)
    assert_count(protocol, parsed.strict, photos.num_photos, photos.refused, [])
    unreadable: list[str] = []
    batches = predict_batches(
        bundle, photos, unreadable, parsed.batch_size, parsed.workers, parsed.device
    )
    evaluation = evaluate_batches(bundle, batches, parsed.save_posteriors, parsed.decode)
    problem = assert_count(
        protocol, parsed.strict, len(evaluation.keys), photos.refused, unreadable
    )
    facts = photos.facts.of(evaluation.keys) if photos.facts else None
    report = {
        "protocol": describe(protocol, parsed.csv, parsed.shards, problem),
        "crops": parsed.crops,
        "decode": parsed.decode,
        **summarise(bundle, evaluation, unreadable, photos.refused, facts, *training),
    }
    write_results(out, report, evaluation, photos)
    if parsed.save_posteriors:
        write_posteriors(out / "posteriors.npz", bundle, evaluation)
    return report


def write_results(
    out: Path, report: dict[str, Any], evaluation: "Evaluation", photos: "Photos"
) -> None:
    """Print the tables; write them, the predictions and the pictures."""
    from models.evaluation.accuracy import HIERARCHICAL
    from models.evaluation.error_plots import draw_errors, draw_world
    from models.evaluation.photo_panel import draw_panel
    from models.evaluation.prediction_csv import frame_of, write_predictions
    from models.evaluation.report_tables import headline, print_report, write_report

    print_report(report, console())
    if report["protocol"]["problem"]:
        print(f"warning: {report['protocol']['problem']}", file=sys.stderr)
    write_report(out, report)
    write_predictions(out, frame_of(evaluation))
    title, best = headline(report), evaluation.answers[HIERARCHICAL]
    errors = {name: row.errors_km for name, row in evaluation.answers.items()}
    draw_errors(errors, out / "errors_cdf.png", title)
    truth, answer = (evaluation.lat, evaluation.lon), (best.lat, best.lon)
    draw_world(truth, answer, best.errors_km, out / "world.png", title)
    if photos.read is not None:
        draw_panel(evaluation.keys, best.errors_km, photos.read, out / "panel.png", title)
    print(f"results: {out}")


def compare(parsed: argparse.Namespace, is_source: bool) -> None:
    """Compare two tests of the same photos; run them first where two models are given.

    Raises:
        ValueError, OSError: they cannot be compared; the message says why.
    """
    from data.tables import read_photo_table
    from models.evaluation.comparison import compare_predictions, print_comparison, write_comparison
    from models.evaluation.prediction_csv import read_predictions

    out = parsed.out or Path("runs/comparison")
    places, truth = list(parsed.compare), None
    if is_source:
        places = [out / "a", out / "b"]
        for model, place in zip(parsed.compare, places, strict=True):
            evaluate(parsed, model, place)
    elif parsed.csv:
        truth = read_photo_table(parsed.csv, make_safe_keys=True).photos
    a, b = (read_predictions(place, truth) for place in places)
    result = compare_predictions(a, b, (str(parsed.compare[0]), str(parsed.compare[1])))
    print_comparison(result, console())
    write_comparison(out / "comparison.json", result)
    print(f"results: {out / 'comparison.json'}")


def console() -> Any:
    """Standard output, wide enough for the table where it is no terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


def main(arguments: list[str] | None = None) -> int:
    """Test from the command line."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    is_folder = bool(parsed.images and parsed.csv)
    is_source = is_folder != bool(parsed.shards)
    if parsed.shards and (parsed.images or parsed.csv or parsed.seg):
        parser.error("give --images and --csv (and --seg), or --shards")
    if not is_source and not (parsed.compare and not parsed.images):
        parser.error("give --images and --csv (and --seg), or --shards")
    if bool(parsed.model) == bool(parsed.compare):
        parser.error("give --model, or --compare and two of them")
    try:
        if parsed.compare:
            compare(parsed, is_source)
        else:
            evaluate(parsed, parsed.model, parsed.out or parsed.model / "test")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

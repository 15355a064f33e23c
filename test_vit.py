"""Test a geocell model: how many photos it places within 1, 25, 200, 750 and 2500 km.

    python test_vit.py --model runs/NAME --images DIR --csv F      photos and a table of positions
    python test_vit.py --model runs/NAME --shards DIR              packed shards

Prints one row for each level, for the levels together, and for a prior that looks at no photo;
every share with its count and 95% interval. Writes table.json and predictions.csv to --out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from models.accuracy import Answers, Coverage
    from models.bundle import Bundle

THRESHOLDS_KM = (1, 25, 200, 750, 2500)
MASSES = (0.5, 0.9, 0.95)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="model bundle")
    add("--images", type=Path, metavar="DIR", help="folder of photos, named by id")
    add("--csv", type=Path, metavar="F", help="table of id, lat, lon (IMG_ID, LAT, LON)")
    add("--seg", type=Path, metavar="DIR", help="folder of class-index maps, named by id")
    add("--shards", type=Path, metavar="DIR", help="shards, instead of --images and --csv")
    add("--out", type=Path, metavar="DIR", help="where the results go; default MODEL/test")
    add("--batch_size", type=int, default=64, help="photos in a batch")
    add("--workers", type=int, default=2, help="processes that load photos")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    return parser


def evaluate(parsed: argparse.Namespace) -> dict[str, Any]:
    """Predict, print the table, write the results; return what table.json holds.

    Raises:
        ValueError, OSError: what the user gave cannot be tested; the message says why.
    """
    from models.accuracy import answers_by_row, coverage
    from models.bundle import Bundle
    from models.decode import nested_posterior
    from models.predict import open_photos, predict

    bundle = Bundle.open(parsed.model)
    out = parsed.out or parsed.model / "test"
    photos = open_photos(bundle, parsed.images, parsed.csv, parsed.seg, parsed.shards, out)
    predicted = predict(bundle, photos, parsed.batch_size, parsed.workers, parsed.device)
    answers = answers_by_row(
        predicted.logits, bundle.partition, bundle.calibration, predicted.lat, predicted.lon
    )
    posterior = nested_posterior(predicted.logits, bundle.ancestors, bundle.calibration.temperature)
    finest = bundle.partition.levels[bundle.levels[-1]]
    true_cells = finest.assign(predicted.lat, predicted.lon)
    covered = [coverage(posterior, true_cells, bundle.calibration, mass) for mass in MASSES]
    result = summarise(bundle, answers, covered, predicted.unreadable, photos.refused)
    print_table(result)
    write_results(out, result, predicted.keys, answers, posterior.max(axis=1))
    print(f"results: {out / 'table.json'}, {out / 'predictions.csv'}")
    return result


def summarise(
    bundle: "Bundle",
    answers: dict[str, "Answers"],
    covered: list["Coverage"],
    unreadable: list[str],
    refused: int,
) -> dict[str, Any]:
    """Gather what is printed and written, plain types only."""
    from retrieval.evaluate import bootstrap_interval, wilson_interval

    rows = {
        name: {
            "within_km": {str(km): share_within(row.errors_km, km) for km in THRESHOLDS_KM},
            "median_km": median(row.errors_km),
            "median_km_95": list(bootstrap_interval(row.errors_km)),
        }
        for name, row in answers.items()
    }
    regions = [
        {**c._asdict(), "interval_95": list(wilson_interval(c.held, c.photos))} for c in covered
    ]
    return {
        "model": str(bundle.path),
        "photos": len(next(iter(answers.values())).errors_km),
        "unreadable": unreadable,
        "refused_rows": refused,
        "calibration_photos": bundle.calibration.photos,
        "rows": rows,
        "regions": regions,
    }


def share_within(errors_km: "np.ndarray", km: float) -> dict[str, float]:
    """Percent of photos within `km`, hits, and a 95% interval.

    The interval is a bootstrap's, except where all photos or none are hits: resampling those gives
    an interval of no width, which claims too much, so Wilson's stands in.
    """
    import numpy as np

    from retrieval.evaluate import bootstrap_interval, wilson_interval

    inside = errors_km <= km
    hits, photos = int(inside.sum()), len(inside)
    degenerate = hits in (0, photos)
    low, high = wilson_interval(hits, photos) if degenerate else bootstrap_interval(inside, np.mean)
    return {"percent": 100 * hits / photos, "low": 100 * low, "high": 100 * high, "hits": hits}


def median(errors_km: "np.ndarray") -> float:
    """The middle error, km."""
    import numpy as np

    return float(np.median(errors_km))


def print_table(result: dict[str, Any]) -> None:
    """Print the accuracy table and the coverage of regions."""
    from rich.console import Console
    from rich.table import Table

    title = f"{result['model']}: {result['photos']} photos; % within (count), 95% interval"
    table = Table(title=title)
    table.add_column("")
    for km in THRESHOLDS_KM:
        table.add_column(f"{km} km", justify="right")
    table.add_column("median km", justify="right")
    for name, row in result["rows"].items():
        shares = [row["within_km"][str(km)] for km in THRESHOLDS_KM]
        low, high = row["median_km_95"]
        table.add_row(
            name,
            *(f"{s['percent']:.1f} ({s['hits']})\n{s['low']:.1f}-{s['high']:.1f}" for s in shares),
            f"{row['median_km']:,.0f}\n{low:,.0f}-{high:,.0f}",
        )
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for c in result["regions"]:
        low, high = c["interval_95"]
        console.print(
            f"region {c['mass']:.0%}: held the truth in {c['held']} of {c['photos']} photos = "
            f"{c['held'] / c['photos']:.1%} [{low:.1%}-{high:.1%}], median {c['cells']:.0f} cells"
            + ("" if result["calibration_photos"] else " (not calibrated)"),
            highlight=False,
        )
    if result["unreadable"]:
        listed = ", ".join(result["unreadable"][:10])
        console.print(f"{len(result['unreadable'])} photos could not be read: {listed}")
    if result["refused_rows"]:
        console.print(f"{result['refused_rows']} rows of the table were refused, see refused.csv")


def write_results(
    out: Path,
    result: dict[str, Any],
    keys: list[str],
    answers: dict[str, "Answers"],
    confidence: "np.ndarray",
) -> None:
    """Write table.json and predictions.csv (hierarchical answers)."""
    import pandas as pd

    from models.accuracy import HIERARCHICAL
    from partitioning.atomic_file import atomic_path

    best = answers[HIERARCHICAL]
    columns = {
        "img_id": keys,
        "pred_lat": best.lat,
        "pred_lng": best.lon,
        "error_km": best.errors_km,
        "probability": confidence,
    }
    with atomic_path(out / "predictions.csv") as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False)
    with atomic_path(out / "table.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2))


def main(arguments: list[str] | None = None) -> int:
    """Test from the command line."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    folder = parsed.images and parsed.csv
    if bool(parsed.shards) == bool(folder) or (parsed.shards and (parsed.images or parsed.seg)):
        parser.error("give --images and --csv (and --seg), or --shards")
    try:
        evaluate(parsed)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

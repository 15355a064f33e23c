"""Cut the globe into geocells by photo positions and give each photo its class on each level.

    python -m partitioning.assign_classes --input photos.csv --output runs/cells

The CSV needs columns IMG_ID, LAT and LON (or image_id, latitude, lng ...). Written to the output
directory: cells.parquet; classes.parquet and classes.csv (id, coarse, middle, fine; -1 = the photo
lies in no cell); coarse.geojson, middle.geojson and fine.geojson; cells.png; and refused.csv, the
rows that were left out with their reasons. With --cells, photos get the classes of an existing
partition, a model's for instance, and no cells are built.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partitioning.atomic_file import atomic_path
from partitioning.partition import (
    LEVELS,
    T_DEFAULT,
    Partition,
    build_partition,
    check_partition_thresholds,
    load,
    save,
)
from partitioning.s2 import MAX_LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

DEFAULT = "(default: %(default)s)"
USE_CELLS = (
    "cells.parquet to use (default: build one); thresholds and levels are then those of the file"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    from rich.console import Console

    try:
        assign_classes(options, Console(highlight=False))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m partitioning.assign_classes",
        description="Cut the globe into geocells and give each photo its class on each level.",
    )
    parser.add_argument("--input", type=Path, required=True, help="CSV of photo ids and positions")
    parser.add_argument("--output", type=Path, required=True, help="directory to write to")
    parser.add_argument("--cells", type=Path, help=USE_CELLS)
    for name in LEVELS:
        parser.add_argument(
            f"--t_{name}",
            type=int,
            nargs=2,
            default=T_DEFAULT[name],
            metavar=("T_MIN", "T_MAX"),
            help=f"{name} cells: dropped below T_MIN photos, split above T_MAX {DEFAULT}",
        )
    parser.add_argument("--min_level", type=int, default=2, help=f"S2 level to start at {DEFAULT}")
    parser.add_argument(
        "--max_level", type=int, default=MAX_LEVEL, help=f"S2 level never split {DEFAULT}"
    )
    parser.add_argument(
        "--no_picture", action="store_true", help="do not draw cells.png (default: draw it)"
    )
    return parser


def assign_classes(options: argparse.Namespace, console: "Console") -> None:
    """Read, partition, assign and write, telling the console what came of it.

    Raises:
        ValueError: the CSV or the cells cannot be used, or no row of the CSV is left.
    """
    # pandas takes 0.2 s to import, which `--help` need not wait for.
    from partitioning.positions_csv import read_positions

    if not options.cells:
        check_partition_thresholds(_thresholds(options), options.min_level, options.max_level)
    with console.status(f"reading {options.input}"):
        photos, refused = read_positions(options.input)
    _report_refused(refused, len(photos), options.output, console)
    if photos.empty:
        raise ValueError(f"{options.input}: no usable row; see {options.output / 'refused.csv'}")
    lat, lon = photos["lat"].to_numpy(), photos["lon"].to_numpy()
    with console.status(f"assigning {len(photos):,} photos"):
        partition = _partition(options, lat, lon)
        classes = partition.assign(lat, lon)
    _report_classes(partition, classes, console)
    with console.status(f"writing {options.output}"):
        _write_classes(photos["id"], classes, options.output)
        _write_cells(partition, options.output)
    if not options.no_picture:
        _write_picture(partition, options.output / "cells.png", console)
    console.print(f"written to {options.output}")


def _partition(options: argparse.Namespace, lat: np.ndarray, lon: np.ndarray) -> Partition:
    if options.cells:
        return load(options.cells)
    with options.input.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    t = _thresholds(options)
    return build_partition(lat, lon, t, options.min_level, options.max_level, digest)


def _thresholds(options: argparse.Namespace) -> dict[str, tuple[int, int]]:
    return {name: tuple(getattr(options, f"t_{name}")) for name in LEVELS}


def _report_refused(
    refused: "pd.DataFrame", num_usable: int, output: Path, console: "Console"
) -> None:
    with atomic_path(output / "refused.csv") as temporary:
        refused.to_csv(temporary, index=False)
    console.print(f"{num_usable:,} photos read, {len(refused):,} rows refused")
    for reason, count in refused["reason"].value_counts().items():
        console.print(f"  {count:,} {reason}")


def _report_classes(partition: Partition, classes: np.ndarray, console: "Console") -> None:
    for column, (name, cells) in enumerate(partition.levels.items()):
        outside = int(np.sum(classes[:, column] < 0))
        console.print(f"{name}: {len(cells):,} cells, {outside:,} photos in none of them")


def _write_classes(ids: "pd.Series", classes: np.ndarray, output: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"id": ids.to_numpy()}).assign(**dict(zip(LEVELS, classes.T, strict=True)))
    with atomic_path(output / "classes.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_path(output / "classes.csv") as temporary:
        table.to_csv(temporary, index=False)


def _write_cells(partition: Partition, output: Path) -> None:
    from partitioning.geojson import to_geojson

    save(partition, output / "cells.parquet")
    for name, cells in partition.levels.items():
        with atomic_path(output / f"{name}.geojson") as temporary:
            temporary.write_text(json.dumps(to_geojson(cells), separators=(",", ":")))


def _write_picture(partition: Partition, path: Path, console: "Console") -> None:
    from partitioning.picture import draw_partition

    with console.status(f"drawing {path}"):
        draw_partition(partition, path)


if __name__ == "__main__":
    sys.exit(main())

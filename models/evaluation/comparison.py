"""Two models on the same photos: the paired table of two predictions files, without a network.

The photos that both files hold are compared, and how many only one of them holds is said.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from models.evaluation.paired_test import compare, median_difference
from models.evaluation.prediction_csv import TRUTH_COLUMNS
from partitioning.atomic_file import atomic_path
from partitioning.geodesy import haversine_km

SAME_PLACE_KM = 0.01


def compare_predictions(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> dict[str, Any]:
    """Compare two frames of `prediction_csv.read_predictions`, way by way of decoding.

    Raises:
        ValueError: no photo or no way of decoding is in both, or their true positions differ.
    """
    keys = [key for key in a["p_key"].unique() if key in set(b["p_key"])]
    if not keys:
        raise ValueError(f"{names[0]} and {names[1]} have no p_key in common")
    rows: dict[str, Any] = {}
    photos, only = 0, (0, 0)
    for key in keys:
        pair = [frame[frame["p_key"] == key].set_index("img_id") for frame in (a, b)]
        both = pair[0].index.intersection(pair[1].index, sort=False)
        if both.empty:
            raise ValueError(f"{names[0]} and {names[1]} have no photo in common for {key}")
        left, right = (frame.loc[both] for frame in pair)
        _check_truth(left, right, names)
        photos, only = len(both), (len(pair[0]) - len(both), len(pair[1]) - len(both))
        rows[key] = _row(left["error_km"].to_numpy(), right["error_km"].to_numpy())
    return {"a": names[0], "b": names[1], "photos": photos, "only_in": list(only), "rows": rows}


def _row(errors_a_km: np.ndarray, errors_b_km: np.ndarray) -> dict[str, Any]:
    difference, low, high = median_difference(errors_a_km, errors_b_km)
    return {
        "within_km": {f"{km:g}": d.plain() for km, d in compare(errors_a_km, errors_b_km).items()},
        "median_km": [float(np.median(errors_a_km)), float(np.median(errors_b_km))],
        "median_difference_km": difference,
        "median_difference_km_95": [low, high],
    }


def _check_truth(left: pd.DataFrame, right: pd.DataFrame, names: tuple[str, str]) -> None:
    lat_a, lon_a = (left[name].to_numpy(float) for name in TRUTH_COLUMNS)
    lat_b, lon_b = (right[name].to_numpy(float) for name in TRUTH_COLUMNS)
    apart_km = haversine_km(lat_a, lon_a, lat_b, lon_b)
    if apart_km.max() > SAME_PLACE_KM:
        key = left.index[int(apart_km.argmax())]
        raise ValueError(
            f"{names[0]} and {names[1]} hold true positions of {key} that are "
            f"{apart_km.max():.3g} km apart: they are of two versions of a benchmark"
        )


def print_comparison(result: dict[str, Any], console: Console) -> None:
    """Print the paired table."""
    table = Table(title=f"A = {result['a']}\nB = {result['b']}\n{result['photos']} photos of both")
    for name in ("", "A %", "B %", "B - A, points\n95% interval", "only A", "only B", "McNemar p"):
        table.add_column(name, justify="right" if name else "left")
    for key, row in result["rows"].items():
        table.add_section()
        for km, d in row["within_km"].items():
            table.add_row(
                f"{key} {km} km",
                f"{d['percent_a']:.1f}",
                f"{d['percent_b']:.1f}",
                f"{d['difference']:+.1f}\n{d['low']:+.1f} to {d['high']:+.1f}",
                str(d["only_a"]),
                str(d["only_b"]),
                f"{d['p']:.2g}",
            )
    console.print(table)
    for line in _notes(result):
        console.print(line, highlight=False, markup=False)


def _notes(result: dict[str, Any]) -> Iterator[str]:
    for key, row in result["rows"].items():
        (a, b), (low, high) = row["median_km"], row["median_difference_km_95"]
        yield (
            f"{key}: median {a:,.0f} km of A, {b:,.0f} km of B, difference "
            f"{row['median_difference_km']:+,.0f} [{low:+,.0f} to {high:+,.0f}]"
        )
    tests = sum(len(row["within_km"]) for row in result["rows"].values())
    yield (
        f"each p is of a single test; of {tests} such tests about {tests / 20:.1f} give p < 0.05 "
        "by chance alone"
    )
    if any(result["only_in"]):
        yield (
            f"WARNING: {result['only_in'][0]} photos are only in A and {result['only_in'][1]} only "
            "in B; they are left out"
        )


def write_comparison(path: Path, result: dict[str, Any]) -> None:
    """Write comparison.json."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2))

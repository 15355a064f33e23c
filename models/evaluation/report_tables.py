"""A test's figures as tables: on the screen, as Markdown, as CSV; the JSON is the figures whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from models.evaluation.accuracy import HIERARCHICAL
from models.evaluation.report import NEW_AUTHORS
from partitioning.atomic_file import atomic_path

ALL = "all photos"


def headline(report: dict[str, Any]) -> str:
    """Which photos were tested, so that no figure stands without its protocol."""
    protocol = report["protocol"]
    name = protocol["title"] if protocol["name"] else "no protocol"
    name = f"NOT {name}" if protocol["problem"] else name
    expected = f" of {protocol['expected']:,}" if protocol["name"] else ""
    return (
        f"{report['model']}: {name}, {report['photos']:,}{expected} photos, "
        f"list sha256 {protocol['list_sha256'][:12]}"
    )


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print the tables, GeoScore, areas and the coverage of regions."""
    table = Table(title=f"{headline(report)}\n% within (count), 95% interval")
    kms = list(next(iter(report["rows"].values()))["within_km"])
    for name in ("", *(f"{km} km" for km in kms), "median km"):
        table.add_column(name, justify="right" if name else "left")
    for kind, rows in _sections(report):
        if kind != ALL:
            table.add_section()
            table.add_row(f"[bold]{_heading(kind)}")
        for name, row in rows.items():
            label = name if kind == ALL else f"{name}\nn={row['photos']}"
            table.add_row(label, *_cells(row, "\n"))
    console.print(table)
    for line in notes(report):
        console.print(line, highlight=False, markup=False)


def notes(report: dict[str, Any]) -> Iterator[str]:
    """Everything below the table, line by line."""
    if report["crops"] != 1 or report["decode"] != "mean":
        yield (
            f"{report['crops']} crops a photo, answer decoded by {report['decode']} mean; the "
            "calibration is that of one crop"
        )
    low, high = report["geoscore"]["95"]
    yield f"GeoScore {report['geoscore']['mean']:,.0f} of 5,000 [{low:,.0f}-{high:,.0f}]"
    for area, figures in report["areas"].items():
        right = figures["right"]
        ceiling = (
            f"; true positions would get {figures['ceiling']['percent']:.1f}%, names lent by "
            f"{figures['names lent by']}"
            if "ceiling" in figures
            else ""
        )
        yield (
            f"{area}: right in {right['hits']} of {right['n']} = {right['percent']:.1f}% "
            f"[{right['low']:.1f}-{right['high']:.1f}]{ceiling}"
        )
    for c in report["regions"]:
        low, high = c["interval_95"]
        unchecked = "" if report["calibration_photos"] else " (not calibrated)"
        yield (
            f"region {c['mass']:.0%}: held the truth in {c['held']} of {c['photos']} photos = "
            f"{c['held'] / c['photos']:.1%} [{low:.1%}-{high:.1%}], "
            f"median {c['cells']:.0f} cells{unchecked}"
        )
    yield report["authors"]
    if report["unreadable"]:
        listed = ", ".join(report["unreadable"][:10])
        yield f"{len(report['unreadable'])} photos could not be read: {listed}"
    if report["refused_rows"]:
        yield f"{report['refused_rows']} rows of the table were refused, see refused.csv"
    if report["protocol"]["note"]:
        yield f"{report['protocol']['title']}: {report['protocol']['note']}"
    if report["protocol"]["problem"]:
        yield f"WARNING: {report['protocol']['problem']}"


def write_report(directory: Path, report: dict[str, Any]) -> None:
    """Write report.json, table.csv and table.md."""
    with atomic_path(directory / "table.csv") as temporary:
        pd.DataFrame(list(_long_rows(report))).to_csv(temporary, index=False)
    with atomic_path(directory / "table.md") as temporary:
        temporary.write_text(markdown(report))
    with atomic_path(directory / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2))


def markdown(report: dict[str, Any]) -> str:
    """The same as Markdown."""
    kms = list(next(iter(report["rows"].values()))["within_km"])
    columns = [*(f"{km} km" for km in kms), "median km"]
    lines = [f"**{headline(report)}**", "", f"| % within, 95% interval | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for kind, rows in _sections(report):
        prefix = "" if kind == ALL else f"{_heading(kind)}: "
        lines += [
            f"| {prefix}{name} (n={row['photos']}) | " + " | ".join(_cells(row, " ")) + " |"
            for name, row in rows.items()
        ]
    return "\n".join([*lines, "", *(f"- {line}" for line in notes(report)), ""])


def _sections(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield ALL, report["rows"]
    yield from report["groups"].items()


def _heading(kind: str) -> str:
    return kind if kind == NEW_AUTHORS else f"by {kind}, {HIERARCHICAL}"


def _cells(row: dict[str, Any], gap: str) -> list[str]:
    low, high = row["median_km_95"]
    return [
        *(
            f"{s['percent']:.1f} ({s['hits']}){gap}{s['low']:.1f}-{s['high']:.1f}"
            for s in row["within_km"].values()
        ),
        f"{row['median_km']:,.0f}{gap}{low:,.0f}-{high:,.0f}",
    ]


def _long_rows(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each group, row and distance; author-disjoint figures in columns beside."""
    new = report["groups"].get(NEW_AUTHORS, {})
    for kind, rows in _sections(report):
        if kind == NEW_AUTHORS:
            continue
        for name, row in rows.items():
            for km, share in row["within_km"].items():
                other = new[name]["within_km"][km] if kind == ALL and name in new else {}
                yield {
                    "protocol": report["protocol"]["name"],
                    "list_sha256": report["protocol"]["list_sha256"],
                    "group": kind,
                    "row": name,
                    "km": km,
                    **share,
                    "median_km": row["median_km"],
                    **{f"new_authors_{k}": other.get(k, "") for k in share},
                }

"""Counts over a folder of shards as tables on the terminal."""

from rich.console import Console
from rich.table import Table

from data.overview.stats import PERCENTILES, Stats

SHOWN = 12  # rows of a table of counts; all are in stats.csv
NOT_SHOWN = ("shard",)


def print_stats(stats: Stats, console: Console) -> None:
    """Print sizes, and the most frequent of everything that was counted."""
    shards = len(stats.counts.get("shard", {}))
    console.print(
        f"{stats.samples:,} samples in {shards:,} shards; {stats.with_seg:,} with a segmentation "
        f"map; {stats.authors:,} authors, {stats.without_author:,} samples without one"
    )
    if stats.unreadable:
        first = next(iter(stats.unreadable.values()))
        console.print(f"{len(stats.unreadable):,} samples are damaged; the first: {first}")
    console.print(_sizes(stats))
    for kind, counts in stats.counts.items():
        if kind not in NOT_SHOWN and counts:
            console.print(_most_frequent(kind, counts, stats.samples))


def _sizes(stats: Stats) -> Table:
    table = Table(
        "size",
        *("least" if p == 0 else "most" if p == 100 else f"{p}%" for p in PERCENTILES),
        title="percentiles",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in sorted(stats.percentiles.items()):
        if values:
            table.add_row(name.replace("_", " "), *(f"{value:,}" for value in values))
    return table


def _most_frequent(kind: str, counts: dict[str, int], samples: int) -> Table:
    different = len(counts)
    title = f"by {kind}" + (f": {SHOWN} of {different:,}" if different > SHOWN else "")
    table = Table(kind, "samples", "share", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, number in list(counts.items())[:SHOWN]:
        table.add_row(name, f"{number:,}", f"{number / samples:.1%}")
    return table

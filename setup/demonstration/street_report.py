"""The street demo's table, maps and JSON: what leave-one-out found, with counts and intervals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from partitioning.atomic_file import atomic_path
from retrieval.evaluate import WORLD_THRESHOLDS_KM, recall_of_ranks, share_of, within_km
from retrieval.mapping.fix_map import thumbnail, write_fix_map
from retrieval.mapping.map import write_overview
from setup.demonstration.leave_one_out import GATE_MASS, REGION_MASSES, Outcome
from setup.demonstration.street_rows import named_shares, share_texts

KS = (1, 5)


def share(hits: int, n: int) -> dict[str, float]:
    """Hits of n with percent and Wilson's 95% interval; of no cases there is only the count."""
    return share_of(hits, n).percents() if n else {"hits": 0, "n": 0}


def summarise(outcomes: list[Outcome]) -> dict[str, Any]:
    """All figures of the street demo, plain types."""
    known = [o for o in outcomes if o.known]
    unknown = [o for o in outcomes if not o.known]
    accepted = [o for o in known if o.fix.level == "street"]
    within = {
        name: {f"{km:g}": found.percents() for km, found in within_km(errors).items()}
        for name, errors in {
            "known: cells and gallery": [o.fix_km for o in known],
            "known: cells only": [o.cells_km for o in known],
            "known: prior": [o.prior_km for o in known],
            "unknown: cells only": [o.cells_km for o in unknown],
            "unknown: prior": [o.prior_km for o in unknown],
        }.items()
        if errors
    }
    recall = recall_of_ranks([o.rank for o in known], KS)
    gated = recall_of_ranks([o.gated_rank for o in known], KS)
    return {
        "known": len(known),
        "unknown": len(unknown),
        "within_km": within,
        "recall": {str(k): found.percents() for k, found in recall.items()},
        "gate mass": GATE_MASS,
        "recall in the region": {str(k): found.percents() for k, found in gated.items()},
        "unknown refused": share(sum(o.fix.level != "street" for o in unknown), len(unknown)),
        "known accepted": share(len(accepted), len(known)),
        "accepted and right": share(sum(o.rank == 0 for o in accepted), len(accepted)),
        "regions": [region_figures(outcomes, i) for i in range(len(REGION_MASSES))],
    }


def region_figures(outcomes: list[Outcome], i: int) -> dict[str, Any]:
    """How often the regions of `REGION_MASSES[i]` held the truth, where there could be one."""
    regions = [o.regions[i] for o in outcomes]
    possible = [r for r in regions if r.possible]
    figures: dict[str, Any] = {"mass": REGION_MASSES[i], "impossible": len(regions) - len(possible)}
    if possible:
        figures |= share(sum(r.held for r in possible), len(possible))
        figures["median cells"] = float(np.median([r.cells for r in possible]))
    return figures


def print_report(figures: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    table = Table(title="landmark photographs, leave-one-out: % within (count), 95% interval")
    table.add_column("")
    for km in WORLD_THRESHOLDS_KM:
        table.add_column(f"{km:g} km", justify="right")
    for name, row in figures["within_km"].items():
        table.add_row(
            f"{name} (n={next(iter(row.values()))['n']})",
            *(
                f"{s['percent']:.0f} ({s['hits']})\n{s['low']:.0f}-{s['high']:.0f}"
                for s in row.values()
            ),
        )
    console.print(table)
    for name, found in named_shares(figures):
        count, percent, interval = share_texts(found)
        shown = f"{count} = {percent} [{interval}]" if percent else count
        console.print(f"{name}: {shown}", highlight=False)
    for r in figures["regions"]:
        name = f"region of nominal {r['mass']:.0%}"
        if r["impossible"]:
            console.print(
                f"{name}: cannot be had for {r['impossible']} queries: too many validation photos "
                "lie in no cell of the gallery's",
                highlight=False,
            )
        if "hits" in r:
            console.print(
                f"{name}: held the truth in {r['hits']} of {r['n']} = {r['percent']:.0f}% "
                f"[{r['low']:.0f}-{r['high']:.0f}], median {r['median cells']:.0f} cells",
                highlight=False,
            )
    width = figures["recall"]["1"]["high"] - figures["recall"]["1"]["low"]
    console.print(
        f"{figures['known']} known queries are few: the interval of R@1 is {width:.0f} points "
        f"wide, and one query more or less moves it by {100 / figures['known']:.0f}."
    )


def write_report(
    outcomes: list[Outcome],
    figures: dict[str, Any],
    truths: dict[str, tuple[float, float]],
    images: Path,
    directory: Path,
) -> None:
    """Write figures.json, one map for each known query and an overview of all queries."""
    with atomic_path(directory / "figures.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2))
    for outcome in (o for o in outcomes if o.known):
        photo = images / f"{outcome.img_id}.jpg"
        path = directory / "maps" / f"{outcome.img_id}.html"
        write_fix_map(path, outcome.fix, photo, images.parent, truths[outcome.img_id])
    write_overview(
        directory / "queries.html",
        [
            {
                "title": o.img_id,
                "truth": truths[o.img_id],
                "prediction": (o.fix.lat, o.fix.lon),
                "thumbnail": thumbnail(images / f"{o.img_id}.jpg", 200),
                "note": f"{o.fix.level}; its place was {'' if o.known else 'not '}in the gallery",
            }
            for o in outcomes
        ],
        "Landmark photographs, each located by all the others",
        ["Lines run from the truth to the answer; photographs from Debian's gcompris-qt-data."],
    )

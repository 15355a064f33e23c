"""Put the figures of the last demo into the README and docs/, so that none is typed by hand.

    python -m setup.readme

Copies the demo's pictures to docs/, gathers its figures in docs/figures.json and renders them
between the README's `<!-- demo:NAME -->` marks. A test renders them again and compares.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from setup.demonstration.street_rows import named_shares, share_texts

ROOT = Path(__file__).parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PICTURES = ROOT / "runs/demo-pictures"
SHOWN = ("street.png", "world.png", "cells.png")


def gather() -> dict[str, Any]:
    """Collect what the demo measured.

    Raises:
        FileNotFoundError: the demo has not run.
        ValueError: it skipped steps, so that its time says nothing.
    """
    demo = json.loads((PICTURES / "demo.json").read_text())
    if not demo["fresh"]:
        raise ValueError("the last demo skipped steps: run `make demo ARGS=--again` for its time")
    answer = subprocess.run(
        [sys.executable, "geolocate.py", demo["photo"]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "street": json.loads((ROOT / "runs/demo/figures.json").read_text()),
        "world": json.loads((ROOT / "runs/demo-world/test/report.json").read_text()),
        "minutes": demo["minutes"],
        "answer": f"$ python geolocate.py {demo['photo']}\n{answer.stdout.rstrip()}",
    }


def blocks(figures: dict[str, Any]) -> dict[str, str]:
    """The README's marked parts, Markdown."""
    return {
        "answer": f"```\n{figures['answer']}\n```",
        "time": f"The whole demo took {figures['minutes']:.1f} minutes on two shared cores, after "
        "the packages were down.",
        "street": street_block(figures["street"]),
        "world": world_block(figures["world"]),
    }


def street_block(street: dict[str, Any]) -> str:
    """Accuracy, recall, refusals and coverage of the street demo."""
    rows = street["within_km"]
    lines = header([f"{km} km" for km in next(iter(rows.values()))], "% within (95% interval)")
    for name, row in rows.items():
        count = next(iter(row.values()))["n"]
        lines.append(f"| {name} (n={count}) | " + " | ".join(map(cell, row.values())) + " |")
    lines += ["", "| | of | | 95% interval |", "|---|---|---|---|"]
    regions = [
        (f"region of nominal {r['mass']:.0%} held the truth", r)
        for r in street["regions"]
        if "hits" in r
    ]
    lines += [
        f"| {name} | {' | '.join(share_texts(s))} |" for name, s in named_shares(street) + regions
    ]
    width = street["recall"]["1"]["high"] - street["recall"]["1"]["low"]
    lines += [
        "",
        f"{street['known']} known queries are few: the interval of R@1 is {width:.0f} points wide.",
    ]
    lines += [
        f"A region of nominal {r['mass']:.0%} could not be had for {r['impossible']} queries: so "
        "many photographs lie in no cell of the others' that no set of cells holds them."
        for r in street["regions"]
        if r["impossible"]
    ]
    return "\n".join(lines)


def world_block(world: dict[str, Any]) -> str:
    """Accuracy and coverage of the world demo."""
    kms = list(next(iter(world["rows"].values()))["within_km"])
    first = f"{world['photos']} tiles, % within (95% interval)"
    lines = header([*(f"{km} km" for km in kms), "median km"], first)
    for name, row in world["rows"].items():
        low, high = row["median_km_95"]
        cells = [cell(row["within_km"][km]) for km in kms]
        cells.append(f"{row['median_km']:,.0f} ({low:,.0f}-{high:,.0f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    for r in world["regions"]:
        low, high = (100 * bound for bound in r["interval_95"])
        percent = 100 * r["held"] / r["photos"]
        lines.append(
            f"- region of nominal {r['mass']:.0%}: held the truth in {r['held']} of {r['photos']} "
            f"= {percent:.1f}% ({low:.1f}-{high:.1f}), median {r['cells']:.0f} cells"
        )
    return "\n".join(lines)


def header(columns: list[str], first: str) -> list[str]:
    """Two lines that begin a Markdown table."""
    return [f"| {first} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]


def cell(share: dict[str, Any]) -> str:
    """A share with its interval."""
    return f"{share['percent']:.1f} ({share['low']:.0f}-{share['high']:.0f})"


def rendered(readme: str, figures: dict[str, Any]) -> str:
    """The README with its marked parts filled."""
    for name, text in blocks(figures).items():
        marks = f"<!-- demo:{name} -->", f"<!-- /demo:{name} -->"
        pattern = re.escape(marks[0]) + r".*?" + re.escape(marks[1])
        filled = f"{marks[0]}\n{text}\n{marks[1]}"
        parts = re.split(pattern, readme, flags=re.DOTALL)
        if len(parts) != 2:
            raise ValueError(f"README.md has {len(parts) - 1} parts marked demo:{name}, not one")
        readme = filled.join(parts)
    return readme


def main() -> int:
    """Fill docs/ and the README."""
    try:
        figures = gather()
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error.filename} is not there; run `make demo` first\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    DOCS.mkdir(exist_ok=True)
    for name in SHOWN:
        shutil.copyfile(PICTURES / name, DOCS / name)
    with atomic_path(DOCS / "figures.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=1) + "\n")
    with atomic_path(README) as temporary:
        temporary.write_text(rendered(README.read_text(), figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The report of a leak audit: report.md, report.json, and worst.png, the pairs themselves."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.images import crop_square, read_rgb
from data.photos.formats import ImageError
from partitioning.atomic_file import atomic_path
from retrieval.leaks.pairs import Finding, Pair
from retrieval.leaks.photos import SplitPhotos

LISTED, DRAWN, SIDE_PX = 10, 12, 200


def write_report(
    output: Path, photos: SplitPhotos, findings: list[Finding], facts: dict[str, Any]
) -> None:
    """Write the three files.

    Args:
        output: Made where it is missing.
        photos: That were audited.
        findings: Of each kind.
        facts: What it was done with; plain types.
    """
    counts = {split: len(photos.rows_of(split)) for split in photos.names}
    plain = {
        **facts,
        "photos": counts,
        "without_position": photos.refused,
        "is_leaking": any(found.is_leak for found in findings),
        "findings": [_plain(found, photos) for found in findings],
    }
    _write(output / "report.json", json.dumps(plain, indent=2) + "\n")
    _write(output / "report.md", markdown(photos, findings, facts))
    draw_pairs(output / "worst.png", photos, findings)


def markdown(photos: SplitPhotos, findings: list[Finding], facts: dict[str, Any]) -> str:
    """The report as Markdown."""
    leaks = [found.kind for found in findings if found.is_leak]
    verdict = f"LEAK: {', '.join(leaks)}" if leaks else "no leak found"
    lines = [f"# Leak audit: {verdict}", ""]
    lines += [f"- {split}: {len(photos.rows_of(split)):,} photos" for split in photos.names]
    if photos.refused:
        lines.append(f"- left out, no position in the name: {photos.refused:,}")
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += ["", "| check | found | by splits | leak |", "|---|---|---|---|"]
    for found in findings:
        where = ", ".join(f"{name} {count:,}" for name, count in found.by_splits.items())
        lines.append(f"| {found.kind} | {found.count:,} | {where} | {_word(found)} |")
    for found in findings:
        lines += ["", f"## {found.kind}", "", found.what, ""]
        lines += [f"- {key}: {value}" for key, value in found.facts.items()]
        lines += [
            f"- {pair.text}: `{_name(photos, pair.a)}` and `{_name(photos, pair.b)}`"
            for pair in found.pairs[:LISTED]
        ]
        if found.count > LISTED:
            lines.append(f"- ... and {found.count - LISTED:,} more, in report.json")
    return "\n".join(lines) + "\n"


def draw_pairs(path: Path, photos: SplitPhotos, findings: list[Finding]) -> None:
    """Draw the worst pairs, of each kind in turn, side by side; nothing where there is none."""
    pairs = _worst(findings)
    if not pairs:
        path.unlink(missing_ok=True)  # of an earlier audit
        return
    from matplotlib.figure import Figure

    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure((4.6 * columns, 2.75 * rows + 0.3), dpi=100, layout="constrained")
    figure.suptitle("Photos of different splits that should not be alike", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, entry in zip_longest(grid.flat, pairs):
        axes.axis("off")
        if entry:
            kind, pair = entry
            axes.imshow(_side_by_side(photos, pair))
            axes.set_title(f"{kind}: {pair.text}"[:58], fontsize=8)
            names = " | ".join(photos.splits[[pair.a, pair.b]])
            axes.text(0.5, -0.02, names, transform=axes.transAxes, ha="center", va="top", size=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _worst(findings: list[Finding]) -> list[tuple[str, Pair]]:
    """The first pairs of each kind in turn, each pair once."""
    turns = zip_longest(*([(found.kind, pair) for pair in found.pairs] for found in findings))
    first: dict[tuple[int, int], tuple[str, Pair]] = {}
    for kind, pair in (entry for turn in turns for entry in turn if entry):
        first.setdefault((pair.a, pair.b), (kind, pair))
    return list(first.values())[:DRAWN]


def _side_by_side(photos: SplitPhotos, pair: Pair) -> NDArray[np.uint8]:
    gap = np.full((SIDE_PX, 8, 3), 255, np.uint8)
    a, b = (_thumbnail(photos.paths[row]) for row in (pair.a, pair.b))
    return np.concatenate([a, gap, b], axis=1)


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    try:
        return crop_square(read_rgb(path, min_side=SIDE_PX), SIDE_PX)
    except ImageError:
        return np.full((SIDE_PX, SIDE_PX, 3), 200, np.uint8)


def _plain(found: Finding, photos: SplitPhotos) -> dict[str, Any]:
    pairs = [
        {"a": _name(photos, p.a), "b": _name(photos, p.b), "score": round(p.score, 6), "is": p.text}
        for p in found.pairs
    ]
    return {
        "kind": found.kind, "what": found.what, "count": found.count, "is_leak": found.is_leak,
        "by_splits": found.by_splits, "facts": found.facts, "pairs": pairs,
    }  # fmt: skip


def _word(found: Finding) -> str:
    if found.is_leak:
        return "YES"
    return "allowed" if found.count else "no"


def _name(photos: SplitPhotos, row: int) -> str:
    return f"{photos.splits[row]}/{photos.paths[row].name}"


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

"""The street demo's figures by name, for the screen and for the README: one list, one wording."""

from typing import Any

Figures = dict[str, Any]


def named_shares(figures: Figures) -> list[tuple[str, Figures]]:
    """Recall, answers and refusals of `street_report.summarise`, in the order of the page."""
    gate = f"inside the region of nominal {figures['gate mass']:.0%}"
    return [
        *((f"R@{k}, whole gallery", share) for k, share in figures["recall"].items()),
        *((f"R@{k}, {gate}", share) for k, share in figures["recall in the region"].items()),
        ("known queries answered with a street position", figures["known accepted"]),
        ("of these, at the right place", figures["accepted and right"]),
        ("unknown queries refused", figures["unknown refused"]),
    ]


def share_texts(share: Figures) -> tuple[str, str, str]:
    """Count, percent and interval as text; a share of no cases is "none", not zero."""
    if not share["n"]:
        return "none", "", ""
    return (
        f"{share['hits']} of {share['n']}",
        f"{share['percent']:.0f}%",
        f"{share['low']:.0f}-{share['high']:.0f}",
    )

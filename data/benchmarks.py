"""The world benchmarks by name, each with the number of photos that makes it that benchmark.

Figures of two papers can be compared only if both tested the same photos, and three of the five
lists go about in more than one version. So a protocol asserts its count, and a table of results
says its name, its count and the hash of its list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data.sharding.index_tables import MANIFEST, sha256


@dataclass(frozen=True)
class Protocol:
    """One benchmark.

    Attributes:
        name: how it is called on the command line.
        title: how papers call it.
        photos: how many photos are tested.
        source: who defined it.
        note: what to know when comparing.
    """

    name: str
    title: str
    photos: int
    source: str
    note: str = ""


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        p.name: p
        for p in (
            Protocol(
                "im2gps",
                "Im2GPS",
                237,
                "Hays and Efros, CVPR 2008, http://graphics.cs.cmu.edu/projects/im2gps",
                "one photo is 0.4 points",
            ),
            Protocol(
                "im2gps3k",
                "Im2GPS3k",
                2_997,
                "Vo, Jacobs and Hays, ICCV 2017, https://github.com/lugiavn/revisiting-im2gps; "
                "labels: Mueller-Budack et al., ECCV 2018",
                "3,000 images, of which 2,997 are in the list with scene labels that papers test",
            ),
            Protocol(
                "yfcc4k",
                "YFCC4k",
                4_536,
                "Vo, Jacobs and Hays, ICCV 2017, https://github.com/lugiavn/revisiting-im2gps",
                "shares photographers with MP-16: read the author-disjoint figures too",
            ),
            Protocol(
                "yfcc25600",
                "YFCC25600",
                25_600,
                "Mueller-Budack et al., ECCV 2018, https://github.com/TIBHannover/GeoEstimation",
                "its authors' validation photos, others' test (YFCC26k): a model chosen by it is "
                "not tested by it",
            ),
            Protocol(
                "osv5m",
                "OSV-5M test",
                210_122,
                "Astruc et al., CVPR 2024, https://arxiv.org/abs/2404.18873",
                "street view; also GeoScore and the areas of models/evaluation/areas.py",
            ),
        )
    }
)


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: no such protocol; lists those there are.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def count_problem(protocol: Protocol, tested: int, refused: int, unreadable: list[str]) -> str:
    """Why a test is not that protocol's; "" where its count is right.

    Args:
        protocol: what was asked for.
        tested: photos that were placed.
        refused: rows of the table that could not be used.
        unreadable: photos left out, and why.
    """
    if tested == protocol.photos:
        return ""
    listed = tested + len(unreadable) + refused
    parts = [f"{protocol.title} has {protocol.photos:,} photos, tested were {tested:,}"]
    if listed != protocol.photos:
        parts.append(f"the table has {listed:,} rows ({listed - protocol.photos:+,})")
    if refused:
        parts.append(f"{refused:,} rows were refused, see refused.csv")
    if unreadable:
        first = "; ".join(unreadable[:3])
        more = ", ..." if len(unreadable) > 3 else ""
        parts.append(f"{len(unreadable):,} photos are missing or unreadable ({first}{more})")
    return "; ".join(parts) + ": do not compare these figures with published ones"


def assert_count(
    protocol: Protocol | None, strict: bool, tested: int, refused: int, unreadable: list[str]
) -> str:
    """`count_problem`, "" where no protocol is asked for.

    Raises:
        ValueError: there is a problem, and `strict`.
    """
    problem = count_problem(protocol, tested, refused, unreadable) if protocol else ""
    if problem and strict:
        raise ValueError(problem)
    return problem


def describe(
    protocol: Protocol | None, csv: Path | None, shards: Path | None, problem: str
) -> dict[str, Any]:
    """What a report says of its photos, plain types: protocol, and the hash of their list.

    The list is the table, or the manifest of the shards.
    """
    path = csv if csv is not None else (shards or Path()) / MANIFEST
    return {
        "name": protocol.name if protocol else "",
        "title": protocol.title if protocol else "",
        "source": protocol.source if protocol else "",
        "note": protocol.note if protocol else "",
        "expected": protocol.photos if protocol else None,
        "list": str(path),
        "list_sha256": sha256(path),
        "problem": problem,
    }

"""The street benchmarks by name, each with the counts that make it that benchmark.

Two figures can be compared only if both were measured on the same photos and the same answers were
right. Several names are in use for more than one set (MSLS val with 740 or 11,084 queries, Nordland
in four ways), so a protocol says its counts and its ground truth, and is refused where they differ.

Counts: the layout is that of https://github.com/gmberton/VPR-datasets-downloader; Pittsburgh and
Tokyo: Arandjelovic et al., NetVLAD, 2016, https://arxiv.org/abs/1511.07247; the others: tables of
Berton et al., "Deep Visual Geo-localization Benchmark", 2022, https://arxiv.org/abs/2204.03444, and
"EigenPlaces", 2023, https://arxiv.org/abs/2308.10832; where a paper says more it is named below. No
set was at hand to count: a wrong count refuses a right set, which --allow_counts then reads. Splits
that we know no counts of (MSLS train, SVOX train, SF-XL val) are not listed.

In these papers a query with no photo of the database within reach counts as missed; retrieval.test
prints that figure beside the one without such queries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from data.place_sets.frame_numbers import read_frames
from data.places import DATABASE, POSITIVE_M, QUERIES, Photos, Places, read_photos, split_folders

FAR_M = (
    1e7  # further than any zone is wide: added to one zone's metres, it parts them from another's
)


@dataclass(frozen=True)
class PlaceProtocol:
    """One benchmark.

    Attributes:
        name: On the command line.
        title: In papers.
        counts: Split -> photos of the database, queries; empty where a set has no fixed size.
        radius_m: Within which an answer is right; not used where there are frames.
        frames: The photos of database and queries are numbered alike, and answers are right
            within so many of a query's number; None where positions decide, -1 where papers
            differ and the user must say.
        query_folders: What the folder of queries may be called.
        query_every: Queries are only every so many frames.
        has_zones: Its towns lie in several UTM zones.
        note: What to know when comparing.
    """

    name: str
    title: str
    counts: Mapping[str, tuple[int, int]]
    radius_m: float = POSITIVE_M
    frames: int | None = None
    query_folders: tuple[str, ...] = QUERIES
    query_every: int = 1
    has_zones: bool = False
    note: str = ""

    def __str__(self) -> str:
        truth = f"{self.radius_m:g} m" if self.frames is None else f"{self.frames} frames"
        return f"{self.title} (right within {truth})"


def _svox(condition: str, queries: int) -> PlaceProtocol:
    return PlaceProtocol(
        f"svox_{condition}",
        f"SVOX {condition}",
        {"test": (17_166, queries)},
        query_folders=(f"queries_{condition}",),
        note="database: Street View of Oxford; queries: RobotCar",
    )


_NORDLAND = "which of summer and winter is the database differs between papers, and cannot be seen"
PROTOCOLS: Mapping[str, PlaceProtocol] = MappingProxyType(
    {
        p.name: p
        for p in (
            PlaceProtocol(
                "pitts30k",
                "Pitts30k",
                {"train": (10_000, 7_416), "val": (10_000, 7_608), "test": (10_000, 6_816)},
            ),
            PlaceProtocol(
                "pitts250k",
                "Pitts250k",
                {"train": (91_464, 7_824), "val": (78_648, 7_608), "test": (83_952, 8_280)},
            ),
            PlaceProtocol(
                "msls_val_740",
                "MSLS val, 740 queries",
                {"val": (18_871, 740)},
                has_zones=True,
                note="queries of the data set's own evaluation, Copenhagen and San Francisco; not "
                "to be compared with 11,084 queries (93.5 against 91.0 for one model)",
            ),
            PlaceProtocol(
                "msls_val",
                "MSLS val, 11,084 queries",
                {"val": (18_871, 11_084)},
                has_zones=True,
                note="all queries, as the benchmark of Berton et al. formats them",
            ),
            PlaceProtocol("tokyo247", "Tokyo 24/7", {"test": (75_984, 315)}),
            PlaceProtocol(
                "sf_xl_v1",
                "SF-XL test v1",
                {"test": (2_805_840, 1_000)},
                query_folders=("queries_v1", *QUERIES),
                note="Berton et al., CosPlace, 2022, https://arxiv.org/abs/2204.02287",
            ),
            PlaceProtocol(
                "sf_xl_v2",
                "SF-XL test v2",
                {"test": (2_805_840, 598)},
                query_folders=("queries_v2", *QUERIES),
                note="Berton et al., CosPlace, 2022, https://arxiv.org/abs/2204.02287",
            ),
            PlaceProtocol(
                "nordland",
                "Nordland, 27,592 queries, 10 frames",
                {"test": (27_592, 27_592)},
                frames=10,
                note=f"Hausler et al., Patch-NetVLAD, 2021; {_NORDLAND}",
            ),
            PlaceProtocol(
                "nordland_1",
                "Nordland, 27,592 queries, 1 frame",
                {"test": (27_592, 27_592)},
                frames=1,
                note=_NORDLAND,
            ),
            PlaceProtocol(
                "nordland_2760",
                "Nordland, 2,760 queries, 1 frame",
                {"test": (27_592, 2_760)},
                frames=1,
                query_every=10,
                note="Zaffar et al., VPR-Bench, 2021, https://doi.org/10.1007/s11263-021-01469-5: "
                "summer queries, winter database",
            ),
            PlaceProtocol(
                "nordland_3450",
                "Nordland, 3,450 queries, 2 frames",
                {"test": (3_450, 3_450)},
                frames=2,
                note="Lu et al., SelaVPR, 2024: the test part of the ride alone",
            ),
            PlaceProtocol("st_lucia", "St Lucia", {"test": (1_549, 1_464)}),
            _svox("night", 823),
            _svox("overcast", 872),
            _svox("rain", 937),
            _svox("snow", 870),
            _svox("sun", 854),
            PlaceProtocol(
                "amstertime",
                "AmsterTime",
                {"test": (1_231, 1_231)},
                frames=0,
                note="Yildiz et al., 2022, https://arxiv.org/abs/2203.16291: pairs of one number; "
                "there are no positions",
            ),
            PlaceProtocol("eynsham", "Eynsham", {"test": (23_935, 23_935)}),
            PlaceProtocol(
                "gardens_point",
                "Gardens Point",
                {"test": (200, 200)},
                frames=-1,
                note="two of its three walks, numbered alike; papers count 2 to 10 frames as right",
            ),
            PlaceProtocol(
                "frames",
                "a set of numbered frames",
                {},
                frames=-1,
                note="any two rides along one route, numbered alike",
            ),
        )
    }
)


def get_place_protocol(name: str) -> PlaceProtocol:
    """The protocol of a name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def read_protocol(
    protocol: str | PlaceProtocol,
    directory: str | Path,
    split: str = "",
    frames: int | None = None,
    allow_counts: bool = False,
) -> Places:
    """Read one split of a benchmark.

    Args:
        protocol: Or its name.
        directory: Of the set, as data/places.py says.
        split: The protocol's first one where it is empty.
        frames: Within which answers are right, in place of the protocol's own.
        allow_counts: Read a set of other counts too; it is called "NOT Pitts30k" then.

    Returns:
        The places, queries without a positive among them. For protocols by frames, metres are
        frames, and `unit` says so.

    Raises:
        ValueError: no such protocol or split, the counts differ, names hold no position or number,
            or as `Places.of`.
    """
    if isinstance(protocol, str):
        protocol = get_place_protocol(protocol)
    split = split or next(iter(protocol.counts), "test")
    protocol = _with_frames(protocol, frames)
    root, database_folder, query_folder = split_folders(
        directory, split, DATABASE, protocol.query_folders
    )
    read = read_photos if protocol.frames is None else read_frames
    database, queries = read(database_folder), read(query_folder)
    problem = count_problem(protocol, split, len(database), len(queries))
    if problem and not allow_counts:
        raise ValueError(
            f"{root}: {problem}{_refused(database, queries)}. To test on it all the same, under "
            "the name of NOT that protocol: --allow_counts"
        )
    try:
        places = _places(protocol, database, queries)
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from None
    return replace(places, protocol=f"NOT {protocol}: {problem}" if problem else str(protocol))


def count_problem(protocol: PlaceProtocol, split: str, database: int, queries: int) -> str:
    """Why a set is not that protocol's; "" where its counts are right or not fixed."""
    if not protocol.counts:
        return ""
    if split not in protocol.counts:
        return f"{protocol.title} is known for {', '.join(protocol.counts)}, not for {split}"
    expected = protocol.counts[split]
    if expected == (database, queries):
        return ""
    return (
        f"{protocol.title} {split} has {expected[0]:,} photos of the database and "
        f"{expected[1]:,} queries, found were {database:,} and {queries:,}"
    )


def _with_frames(protocol: PlaceProtocol, frames: int | None) -> PlaceProtocol:
    if frames is None:
        if protocol.frames == -1:
            raise ValueError(
                f"{protocol.name}: papers differ in how many frames apart an answer is right; "
                "say it with --frames"
            )
        return protocol
    if protocol.frames is None:
        raise ValueError(f"--frames: {protocol.name} goes by metres, not by frames")
    if frames < 0:
        raise ValueError(f"--frames must be 0 or more, got {frames}")
    return replace(protocol, frames=frames)


def _places(protocol: PlaceProtocol, database: Photos, queries: Photos) -> Places:
    if protocol.frames is None:
        if protocol.has_zones:
            database, queries = _parted(database), _parted(queries)
        return Places.of(database, queries, protocol.radius_m)
    first = queries.utm_m[:1, 1] % protocol.query_every
    if (queries.utm_m[:, 1] % protocol.query_every != first).any():
        raise ValueError(
            f"queries of {protocol.title} are every {protocol.query_every}th frame, numbered by "
            f"the ride's own frames (0, {protocol.query_every}, ...); number them so"
        )
    return Places.of(database, queries, float(protocol.frames), unit="frames")


def _parted(photos: Photos) -> Photos:
    """The same with zones far from each other, for metres of two zones must never look near."""
    utm_m = photos.utm_m.copy()
    utm_m[:, 0] += FAR_M * photos.zones
    return Photos(photos.paths, utm_m, photos.zones * 0, photos.refused)


def _refused(database: Photos, queries: Photos) -> str:
    refused = {**database.refused, **queries.refused}
    if not refused:
        return ""
    name, why = next(iter(refused.items()))
    return f"; {len(refused):,} files were refused, as {name}: {why}"

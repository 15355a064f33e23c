"""Which photo goes where: its split, query or database, and its new name."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.place_sets.names import PlaceName
from data.places import POSITIVE_M, SPLITS
from setup.places.queries import DATE, GIVEN, LEAST_SHARE, SHARE, YEAR, Mask, drawn, newest
from setup.places.sources import SourcePhoto
from setup.places.splits import Names, Rectangle, districts, strips, whole_sequences
from setup.places.zones import ZonePhotos

QUERY_RULES = ("auto", YEAR, DATE, SHARE)
MOST_SEQUENCE_BYTES = 64  # of a file's name


@dataclass(frozen=True)
class PlanSettings:
    """How a town is divided.

    Attributes:
        splits: Those to make, of train, val and test.
        val_share: Share of the photos for validation.
        test_share: Share of the photos for testing.
        areas: Split -> (west, south, east, north) in degrees, in place of shares.
        buffer_m: Between photos of two splits at least.
        radius_m: How near a positive is.
        queries: One of `QUERY_RULES`.
        query_share: Of the photos of each split, where a share is drawn.
        keeps_sequences_whole: Leave out what lies outside the split of most of a sequence.
        seed: Of that draw.

    Raises:
        ValueError: one of them is out of range, or two contradict each other.
    """

    splits: tuple[str, ...] = SPLITS
    val_share: float = 0.2
    test_share: float = 0.2
    areas: Mapping[str, Rectangle] = field(default_factory=dict)
    buffer_m: float = 50.0
    radius_m: float = POSITIVE_M
    queries: str = "auto"
    query_share: float = 0.2
    keeps_sequences_whole: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.val_share, self.test_share)
        if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
            raise ValueError(
                f"--val_share {shares[0]:g} --test_share {shares[1]:g}: both must lie between 0 "
                "and 1, and their sum below 1; leave out a split by --splits"
            )
        if not (self.radius_m > 0 and self.buffer_m > self.radius_m):
            raise ValueError(
                f"--buffer_m {self.buffer_m:g} must be more than the {self.radius_m:g} m within "
                "which photos show one place, else splits share places"
            )
        if not 0 < self.query_share < 1:
            raise ValueError(f"--query_share must lie between 0 and 1, got {self.query_share:g}")
        if self.queries not in QUERY_RULES:
            raise ValueError(f"queries must be one of {', '.join(QUERY_RULES)}")

    @property
    def shares(self) -> dict[str, float]:
        """Split -> share, of those to make."""
        train = 1 - self.val_share - self.test_share
        all_of_them = {"train": train, "val": self.val_share, "test": self.test_share}
        return {split: all_of_them[split] for split in SPLITS if split in self.splits}


@dataclass(frozen=True)
class Planned:
    """One photo of the set.

    Attributes:
        photo: What is known of it.
        sha256: Of its bytes.
        split: train, val, test, or why it is in none.
        is_query: Whether it asks.
        name: Of its new file.
        utm_m: Metres east and north.
    """

    photo: SourcePhoto
    sha256: str
    split: str
    is_query: bool
    name: str
    utm_m: tuple[float, float]

    @property
    def folder(self) -> str:
        """Of its new file, from images/ on; "" where it has none."""
        part = "queries" if self.is_query else "database"
        return f"{self.split}/{part}" if self.split in SPLITS else ""


@dataclass(frozen=True)
class Plan:
    """A set of places to be made.

    Attributes:
        zone: UTM zone.
        photos: All that lie in it, those left out too.
        rule: How queries were chosen.
    """

    zone: int
    photos: list[Planned]
    rule: str

    def counts(self) -> dict[str, int]:
        """Folder, or why photos are in none -> photos."""
        return dict(Counter(photo.folder or photo.split for photo in self.photos))


def plan_zone(
    zone: ZonePhotos,
    photos: Sequence[SourcePhoto],
    sha256s: Sequence[str],
    settings: PlanSettings,
) -> Plan:
    """Plan the set of one zone.

    Raises:
        ValueError: a split has no photo of the database or no query; tells the way out.
    """
    members = [photos[row] for row in zone.rows]
    splits = _splits(zone, members, settings)
    is_query, rule = _queries(zone, members, splits, settings)
    planned = []
    for number, (row, photo) in enumerate(zip(zone.rows, members, strict=True)):
        east, north = zone.utm_m[number].tolist()
        name, asks = str(_name(photo, zone, number)), bool(is_query[number])
        planned.append(Planned(photo, sha256s[row], splits[number], asks, name, (east, north)))
    plan = Plan(zone.zone, planned, rule)
    _check(plan, settings)
    return plan


def _splits(zone: ZonePhotos, photos: Sequence[SourcePhoto], settings: PlanSettings) -> Names:
    if settings.areas:
        lat, lon = (np.array([getattr(p, name) for p in photos]) for name in ("lat", "lon"))
        rest = "train" if "train" in settings.splits else None
        names = districts(lat, lon, settings.areas, rest, settings.buffer_m)
    else:
        names = strips(zone.utm_m, settings.shares, settings.buffer_m)
    if not settings.keeps_sequences_whole:
        return names
    return whole_sequences(names, [photo.sequence for photo in photos], tuple(settings.shares))


def _queries(
    zone: ZonePhotos, photos: Sequence[SourcePhoto], splits: Names, settings: PlanSettings
) -> tuple[Mask, str]:
    """Who asks, and by which rule."""
    if any(photo.is_query is not None for photo in photos):
        return np.array([bool(photo.is_query) for photo in photos]), GIVEN
    rules = QUERY_RULES[1:] if settings.queries == "auto" else (settings.queries,)
    for rule in rules:
        asks = np.zeros(len(photos), bool)
        counts = []
        for split in settings.shares:
            rows = np.flatnonzero(splits == split)
            asks[rows] = _of_rule(rule, rows, zone, photos, settings)
            counts.append((int(asks[rows].sum()), len(rows)))
        if all(asked and asked >= LEAST_SHARE * count for asked, count in counts):
            break
    return asks, rule


def _of_rule(
    rule: str,
    rows: np.ndarray,
    zone: ZonePhotos,
    photos: Sequence[SourcePhoto],
    settings: PlanSettings,
) -> Mask:
    utm_m = zone.utm_m[rows]
    if rule == SHARE:
        names = [photos[row].name for row in rows]
        return drawn(utm_m, names, settings.radius_m, settings.query_share, settings.seed)
    return newest(utm_m, [photos[row].day for row in rows], settings.radius_m, rule)


def _name(photo: SourcePhoto, zone: ZonePhotos, number: int) -> PlaceName:
    """Its new name; the tile's number is made of the old one, so that no two have one name."""
    east, north = (round(float(value), 2) for value in zone.utm_m[number])
    sequence = photo.sequence.encode()[:MOST_SEQUENCE_BYTES].decode(errors="ignore")
    heading = None if math.isnan(photo.heading) else round(photo.heading, 1)
    return PlaceName(
        east, north, zone.zone, zone.letters[number], photo.lat, photo.lon, pano_id=sequence,
        tile=hashlib.sha256(photo.name.encode()).hexdigest()[:12], heading=heading,
        timestamp=photo.day.replace("-", ""),
    )  # fmt: skip


def _check(plan: Plan, settings: PlanSettings) -> None:
    counts = plan.counts()
    for split in settings.shares:
        database, queries = (counts.get(f"{split}/{part}", 0) for part in ("database", "queries"))
        if database and queries:
            continue
        listed = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        raise ValueError(
            f"zone {plan.zone}: {split} would have {database:,} photos of the database and "
            f"{queries:,} queries; {len(plan.photos):,} photos: {listed}. "
            "Ways out: more photos, fewer splits (--splits test), a smaller --buffer_m, other "
            "shares or areas, --queries share, or --split_sequences where sequences run far"
        )

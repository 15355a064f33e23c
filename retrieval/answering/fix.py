"""The answer to "where was this taken?": position, radius, region, cells, matches.

`level` says what the position rests on: "street", a gallery photo of the same place; "cell", the
model's geocells; "unknown", nothing that can be relied on (the position is then a best guess).
"""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from partitioning import s2
from partitioning.geojson import feature_collection


@dataclass(frozen=True)
class CellGuess:
    """A cell of the region.

    Attributes:
        token: S2 token.
        probability: posterior.
        lat: latitude of the mean of its training photos, degrees.
        lon: longitude of it.
        photos: how many there were.
    """

    token: str
    probability: float
    lat: float
    lon: float
    photos: int


@dataclass(frozen=True)
class Match:
    """A gallery photo.

    Attributes:
        key: its id.
        lat: degrees.
        lon: degrees.
        score: cosine of its descriptor to the query's.
        path: where the gallery says the file lies.
        facts: author, licence, url and what else the gallery knows.
    """

    key: str
    lat: float
    lon: float
    score: float
    path: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fix:
    """A determined position.

    Attributes:
        lat: degrees.
        lon: degrees.
        radius_km: the disc about the position that holds the region (level "cell" and "unknown")
            or the stated accuracy of the gallery's positions ("street").
        level: "street", "cell" or "unknown".
        confidence: "street": 1 - p, where wrong matches would look this good with probability p;
            otherwise the posterior of the likeliest cell.
        mass: probability with which the region is meant to hold the truth.
        calibrated: whether the region's mass was checked on validation photos.
        cells: the region's cells, likeliest first.
        matches: gallery photos, best first; empty without a gallery.
        scene: scene name -> probability; empty where the model was not trained on scenes.
        notes: what the reader of the answer should know.
    """

    lat: float
    lon: float
    radius_km: float
    level: str
    confidence: float
    mass: float
    calibrated: bool
    cells: tuple[CellGuess, ...]
    matches: tuple[Match, ...] = ()
    scene: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def region_geojson(self) -> dict[str, Any]:
        """The region as a GeoJSON FeatureCollection of its cells; drawn when first asked for."""
        ids = s2.from_tokens([cell.token for cell in self.cells])
        properties = [{"token": c.token, "probability": c.probability} for c in self.cells]
        return feature_collection(ids, properties)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, the GeoJSON region included."""
        return {**asdict(self), "region_geojson": self.region_geojson}

    def to_json(self, indent: int | None = 2) -> str:
        """`as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=indent)

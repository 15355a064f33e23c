"""One panorama to its tiles: photos, rows of the table, and a record that says it is done."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from data.panorama import Tile, heading_deg, nadir_mask, sampling_places, tiles
from data.panoramas.cut import BAND_PITCH_DEG, band_tiles
from data.panoramas.file import NoPanorama, height_for, read_panorama
from data.panoramas.listing import Source
from data.panoramas.tags import PanoramaTags
from data.photos.formats import ImageError
from partitioning.atomic_file import atomic_path

TILES, MASKS, RECORDS = "tiles", "masks", "records"
NADIRS = ("show", "hide", "mask")
GREY = 128
TILED, BEFORE, NONE, UNREADABLE = "tiled", "tiled before", "no panorama", "unreadable"


@dataclass(frozen=True)
class Tiling:
    """How panoramas are cut up.

    Attributes:
        tiles: Of each panorama, evenly spaced, the first straight ahead.
        hfov_deg: Width of a tile.
        pitch_deg: How far up tiles look.
        size: Height and width of a tile, px.
        is_plain: Cut the useful band and leave lines bent.
        nadir: What becomes of car or tripod below: "show", "hide" (grey), or "mask".
        nadir_below_deg: Steeper than this is nadir.
        quality: Of the JPEGs.
    """

    tiles: int = 10
    hfov_deg: float = 60.0
    pitch_deg: float = 0.0
    size: tuple[int, int] = (480, 640)
    is_plain: bool = False
    nadir: str = "show"
    nadir_below_deg: float = 60.0
    quality: int = 90

    def __post_init__(self) -> None:
        if self.nadir not in NADIRS:
            raise ValueError(f"nadir must be one of {', '.join(NADIRS)}, got {self.nadir!r}")
        if self.tiles < 1 or not 1 <= self.quality <= 100 or not 0 <= self.nadir_below_deg <= 90:
            raise ValueError(
                f"tiles {self.tiles} must be at least 1, quality {self.quality} lie in 1..100, "
                f"nadir_below_deg {self.nadir_below_deg:g} in 0..90"
            )
        if self.is_plain and self.pitch_deg:
            raise ValueError("a plain cut keeps the useful band: it goes with no pitch_deg")
        sampling_places((2, 4, 3), 0, self.pitch_deg, self.hfov_deg, self.size)

    def cut(self, panorama: NDArray[np.uint8]) -> list[Tile]:
        """The tiles of a panorama."""
        if self.is_plain:
            return band_tiles(panorama, self.tiles, self.hfov_deg, self.size)
        return tiles(panorama, self.tiles, self.hfov_deg, self.pitch_deg, self.size)

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return {**asdict(self), "size": list(self.size)}


class Work(NamedTuple):
    """A photo to tile."""

    source: Source
    tiling: Tiling
    output: Path

    def __str__(self) -> str:
        return str(self.source.path)


class Outcome(NamedTuple):
    """What became of a photo.

    Attributes:
        key: Its id.
        path: Of its file.
        kind: tiled, tiled before, no panorama, unreadable.
        reason: Of the last two.
        has_position, has_heading: Of a panorama.
    """

    key: str
    path: Path
    kind: str
    reason: str = ""
    has_position: bool = False
    has_heading: bool = False


def tile_photo(work: Work) -> Outcome:
    """Tile one photo, unless that is done or it is no panorama.

    Raises:
        OSError: the output cannot be written to.
    """
    source, tiling, output = work
    print_of_source = _fingerprint(source)
    rows = finished_rows(output, source.key)
    if rows is not None and rows["source"] == print_of_source and _are_there(output, rows["rows"]):
        return _done(source, BEFORE, rows["rows"])
    if source.is_panorama is False:
        return Outcome(source.key, source.path, NONE, "the table says so")
    try:
        panorama, tags = read_panorama(
            source.path, height_for(tiling.hfov_deg, tiling.size), source.crop
        )
    except NoPanorama as error:
        return Outcome(source.key, source.path, NONE, str(error))
    except ImageError as error:
        return Outcome(source.key, source.path, UNREADABLE, str(error))
    rows = {"source": print_of_source, "rows": _write(source, tags, panorama, tiling, output)}
    with atomic_path(_record(output, source.key)) as temporary:
        temporary.write_text(json.dumps(rows) + "\n")
    return _done(source, TILED, rows["rows"])


def finished_rows(output: Path, key: str) -> dict[str, Any] | None:
    """What the record of a panorama says; None where there is none that can be read."""
    try:
        found = json.loads(_record(output, key).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"source", "rows"} <= found.keys() else None


def remove(output: Path, key: str) -> None:
    """Remove a panorama's tiles, masks and record."""
    for row in (finished_rows(output, key) or {"rows": []})["rows"]:
        for name in (row["path"], row.get("mask") or row["path"]):
            (output / name).unlink(missing_ok=True)
    _record(output, key).unlink(missing_ok=True)


def _record(output: Path, key: str) -> Path:
    return output / RECORDS / f"{key}.json"


def _done(source: Source, kind: str, rows: list[dict[str, Any]]) -> Outcome:
    has_position, has_heading = rows[0]["lat"] != "", rows[0]["heading"] != ""
    return Outcome(source.key, source.path, kind, "", has_position, has_heading)


def _are_there(output: Path, rows: list[dict[str, Any]]) -> bool:
    return all((output / row["path"]).is_file() for row in rows)


def _fingerprint(source: Source) -> str:
    """Changes with the file and with what the table says of it."""
    try:
        state = source.path.stat()
        facts = (state.st_size, state.st_mtime_ns)
    except OSError:
        facts = (0, 0)
    told: tuple = (facts, source.lat, source.lon, source.heading_deg, sorted(source.facts.items()))
    if source.crop:
        told = (*told, source.crop)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _write(
    source: Source,
    tags: PanoramaTags,
    panorama: NDArray[np.uint8],
    tiling: Tiling,
    output: Path,
) -> list[dict[str, Any]]:
    """Write the tiles; returns their rows."""
    below = nadir_mask(len(panorama), tiling.nadir_below_deg)
    masks: list[Tile] = []
    if tiling.nadir == "mask":
        is_nadir = np.where(below, np.uint8(255), np.uint8(0))
        masks = tiling.cut(np.broadcast_to(is_nadir[:, None, None], panorama.shape).copy())
    if tiling.nadir == "hide":
        panorama[below] = GREY
    rows = []
    for number, tile in enumerate(tiling.cut(panorama)):
        row = _row(source, tags, tiling, number, tile.yaw_deg)
        jpeg = simplejpeg.encode_jpeg(tile.picture, quality=tiling.quality)
        _write_bytes(output / row["path"], jpeg)
        if masks:
            row["mask"] = f"{MASKS}/{row['image_id']}.png"
            _write_bytes(output / row["mask"], _png(masks[number].picture[..., 0] > 127))
        rows.append(row)
    return rows


def _row(
    source: Source, tags: PanoramaTags, tiling: Tiling, number: int, yaw_deg: float
) -> dict[str, Any]:
    position = (tags.lat, tags.lon) if source.lat is None else (source.lat, source.lon)
    ahead = tags.heading_deg if source.heading_deg is None else source.heading_deg
    name = f"{source.key}_{number:02d}"
    return {
        "image_id": name,
        "path": f"{TILES}/{name}.jpg",
        "lat": "" if position[0] is None else position[0],
        "lon": "" if position[1] is None else position[1],
        "heading": "" if ahead is None else round(heading_deg(ahead, yaw_deg), 3) % 360,
        "pano": source.key,
        "tile": number,
        "yaw_deg": yaw_deg,
        "pitch_deg": BAND_PITCH_DEG if tiling.is_plain else tiling.pitch_deg,
        "hfov_deg": tiling.hfov_deg,
        "captured_at": source.facts.get("captured_at", tags.day),
        **{name: source.facts.get(name, "") for name in ("author", "licence", "sequence", "url")},
        "mask": "",
    }


def _png(mask: NDArray[np.bool_]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def _write_bytes(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)

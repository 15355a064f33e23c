"""A `Fix` on a map: the photo, the region, the answer, the matches; truth where it is known."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.images import ImageError, read_rgb
from retrieval.answering.fix import Fix
from retrieval.answering.reranking import file_within
from retrieval.mapping.map import Position, write_map

THUMBNAIL_PX = 360


def thumbnail(photo: Path, side_px: int = THUMBNAIL_PX) -> bytes | None:
    """A small JPEG of a photo without its metadata, None where it cannot be read."""
    from PIL import Image

    try:
        picture = Image.fromarray(read_rgb(photo, min_side=side_px))
    except ImageError:
        return None
    picture.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def write_fix_map(
    path: Path,
    fix: Fix,
    photo: Path,
    gallery_images: Path | None = None,
    truth: Position | None = None,
    matches: int = 5,
) -> None:
    """Write the map of one answer.

    Args:
        path: HTML file to write.
        fix: the answer.
        photo: the photo it is about.
        gallery_images: folder that the gallery's photo paths are relative to, for thumbnails.
        truth: (lat, lon), degrees, where it is known.
        matches: how many gallery photos to show.
    """
    sure = {"street": "a street position", "cell": "a cell", "unknown": "a guess: unknown"}
    shown = [
        {
            "lat": match.lat,
            "lon": match.lon,
            "score": match.score,
            "title": " / ".join([match.key, *(str(v) for v in _credit(match.facts))]),
            "thumbnail": _match_thumbnail(gallery_images, match.path),
        }
        for match in fix.matches[:matches]
    ]
    write_map(
        path,
        thumbnail(photo),
        (fix.lat, fix.lon),
        fix.region_geojson,
        [{"token": cell.token, "probability": cell.probability} for cell in fix.cells],
        shown,
        truth,
        f"{photo.stem}: {sure[fix.level]} within {fix.radius_km:,.3g} km",
        list(fix.notes),
        fix.radius_km,
    )


def map_paths(path: Path, photos: Sequence[str]) -> dict[str, Path]:
    """Where the map of each photo goes: a file each, also for photos of one name."""
    if len(photos) == 1:
        return {photos[0]: path}
    taken, numbers, found = set[str](), Counter[str](), dict[str, Path]()
    for photo in dict.fromkeys(photos):
        name = stem = Path(photo).stem
        numbers[stem] += 1
        while name in taken or (name == stem and numbers[stem] > 1):
            name = f"{stem}-{max(numbers[stem], 2)}"
            numbers[stem] += name in taken
        taken.add(name)
        found[photo] = path.with_stem(f"{path.stem}-{name}")
    return found


def _credit(facts: dict) -> list:
    return [facts[name] for name in ("author", "licence") if name in facts]


def _match_thumbnail(images: Path | None, path: str) -> bytes | None:
    """A gallery photo's thumbnail; none for a path that leads out of its folder."""
    photo = None if images is None else file_within(images, path)
    return None if photo is None else thumbnail(photo, 160)

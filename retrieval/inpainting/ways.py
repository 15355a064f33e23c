"""The ways to deal with what moves in front of places, for `retrieval.inpainting_report`.

Leave it, paint it over, or leave its features out; each turns photos of a set into descriptors.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data.images import ImageError, read_rgb
from data.place_sets.photos import PlacePhotos, resized
from data.places import Places, read_places
from data.seg_maps.stored_maps import StoredMaps
from models.inpainting.objects import moving_classes, object_hole
from models.places.place_model import PlaceModel
from partitioning.atomic_file import atomic_path
from retrieval.descriptor_cache import describe, normal
from retrieval.inpainting.town import Town
from retrieval.testing.masked_features import check, masked_descriptors

AS_THEY_ARE, PAINTED, MASKED = "as they are", "painted over", "masked features"
EMPTY = "empty streets (bound)"
BATCH, SHOWN, GAP_PX, TEXT_PX = 16, 6, 4, 12


class Described(NamedTuple):
    """Descriptors of photos.

    Attributes:
        rows: `(N, D)`.
        unreadable: Rows of photos that could not be read.
    """

    rows: NDArray[np.float32]
    unreadable: NDArray[np.int64]


Describe = Callable[[list[Path]], Described]


class Way(NamedTuple):
    """A way to deal with what moves.

    Attributes:
        name: For the table.
        places: Set whose photos are described.
        describe: Describes files.
    """

    name: str
    places: Places
    describe: Describe


def ways_of(town: Town, model: PlaceModel, split: str, has_empty: bool) -> list[Way]:
    """The ways to compare, the photos as they are first.

    Raises:
        ValueError: a set or the maps cannot be read, or the sets hold different photos.
    """
    check(model.embedder)
    plain, painted = (read_places(folder, split) for folder in (town.plain, town.painted))
    maps = StoredMaps(town.maps, town.plain)
    numbers = moving_classes(maps.classes.names)

    def whole(paths: list[Path]) -> Described:
        photos = PlacePhotos(paths, model.size)
        return _readable(describe(model.embedder, photos)[:, 0], photos)

    def masked(paths: list[Path]) -> Described:
        return describe_masked(model, paths, maps, numbers)

    ways = [
        Way(AS_THEY_ARE, plain, whole),
        Way(PAINTED, painted, whole),
        Way(MASKED, plain, masked),
    ]
    if has_empty:
        ways.append(Way(EMPTY, read_places(town.empty, split), whole))
    names = [path.name for path in plain.queries.paths]
    for way in ways:
        if [path.name for path in way.places.queries.paths] != names:
            raise ValueError(f"{town.painted} and {town.plain} hold other queries: not comparable")
    return ways


def describe_masked(
    model: PlaceModel, paths: list[Path], maps: StoredMaps, numbers: list[int]
) -> Described:
    """Describe photos without what their maps show of some classes; one without a map as it is."""
    photos, found = PlacePhotos(paths, model.size), []
    device = next(model.embedder.parameters()).device
    with torch.inference_mode():
        for rows, pictures in photos.batches(range(len(paths)), BATCH):
            hidden = torch.stack([hidden_of(maps, paths[row], numbers, model.size) for row in rows])
            images = normal(pictures, model.embedder, device)
            found.append(masked_descriptors(model.embedder, images, hidden.to(device)))
    return _readable(torch.cat(found).cpu().numpy(), photos)


def _readable(rows: NDArray[np.float32], photos: PlacePhotos) -> Described:
    lost = [row for row in range(len(photos)) if not photos.is_readable(row)]
    return Described(rows, np.array(lost, np.int64))


def hidden_of(
    maps: StoredMaps, path: Path, numbers: list[int], size: tuple[int, int]
) -> torch.Tensor:
    """Where a photo squeezed to `size` is hidden, bool `(H, W)`."""
    try:
        hole = object_hole(maps.of(path), numbers)
    except ImageError as error:
        sys.stderr.write(f"warning: {error}; described whole\n")
        return torch.zeros(size, dtype=torch.bool)
    return resized(torch.from_numpy(hole)[None].to(torch.uint8) * 255, size)[0] > 127


def draw_ways(path: Path, ways: list[Way]) -> None:
    """Write a PNG with some queries as each way sees them; masked features look at the first."""
    shown = [way for way in ways if way.name != MASKED]
    rows = np.linspace(0, len(ways[0].places.queries) - 1, SHOWN).astype(int)
    tiles = [[_tile(way.places.queries.paths[row]) for way in shown] for row in rows]
    width, height = tiles[0][0].size
    top = TEXT_PX + 2 * GAP_PX
    size = (len(shown) * (width + GAP_PX), top + len(rows) * (height + GAP_PX))
    sheet = Image.new("RGB", size, (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for across, way in enumerate(shown):
        pen.text((across * (width + GAP_PX), GAP_PX), way.name, (29, 42, 53), font)
        for down, line in enumerate(tiles):
            place = (across * (width + GAP_PX), top + down * (height + GAP_PX))
            sheet.paste(line[across].resize((width, height)), place)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _tile(path: Path) -> Image.Image:
    """A photo; grey where it cannot be read."""
    try:
        return Image.fromarray(read_rgb(path))
    except ImageError:
        return Image.new("RGB", (128, 96), (128, 128, 128))

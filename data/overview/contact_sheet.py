"""A sheet of small photos with key and position under each, to see what shards hold.

Where a sample has a segmentation map, the right half of its photo is tinted with the colours of
its classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data.images import ImageError, decode_rgb, decode_seg
from data.index import Index
from data.seg_maps.classes import MAX_CLASSES
from data.sharding.index_tables import read_seg_classes
from partitioning.atomic_file import atomic_path

COLUMNS, TILE_PX, GAP_PX, TEXT_PX = 6, 240, 12, 13
LINES = 2
BACKGROUND, INK, FAINT, DAMAGED = (255, 255, 255), (29, 42, 53), (97, 113, 125), (200, 60, 40)
TINT = 0.55  # share of a class's colour in the tinted half


def chosen_rows(samples: int, count: int, seed: int | None) -> list[int]:
    """Rows to show: the first ones, or, with a seed, some at random in their order."""
    count = min(samples, count)
    if seed is None:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(samples, count, replace=False).tolist())


def draw_sheet(
    index: Index,
    rows: Sequence[int],
    path: str | Path,
    on_sample: Callable[[], object] = lambda: None,
) -> None:
    """Draw samples into a PNG, six in a line; a photo that cannot be decoded shows why.

    Args:
        index: The samples.
        rows: Which ones.
        path: The picture.
        on_sample: Called when one is drawn.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError(f"{index.files} has no sample to show")
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + GAP_PX + LINES * (TEXT_PX + 4)
    sheet = Image.new("RGB", (GAP_PX + columns * step_x, GAP_PX + lines * step_y), BACKGROUND)
    palette, font = _palette(index), ImageFont.load_default(TEXT_PX)
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        x, y = GAP_PX + place % columns * step_x, GAP_PX + place // columns * step_y
        try:
            tile = _tile(index, row, palette)
            sheet.paste(tile, (x + (TILE_PX - tile.width) // 2, y + (TILE_PX - tile.height) // 2))
        except (ImageError, ValueError) as error:
            draw.multiline_text((x, y), _wrapped(str(error)), DAMAGED, font)
        position = f"{index.lat[row]:.4f}, {index.lon[row]:.4f}"
        draw.text((x, y + TILE_PX + 2), _shortened(index.key(row), font), INK, font)
        draw.text((x, y + TILE_PX + TEXT_PX + 6), position, FAINT, font)
        on_sample()
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _tile(index: Index, row: int, palette: NDArray[np.uint8]) -> Image.Image:
    """A photo no larger than a tile, its right half tinted where it has a map."""
    jpg, seg_png = index.read_images(row)
    key = index.key(row)
    photo = Image.fromarray(decode_rgb(jpg, key, min_side=TILE_PX))
    photo.thumbnail((TILE_PX, TILE_PX))
    if seg_png is None:
        return photo
    labels = Image.fromarray(decode_seg(seg_png, f"{key}'s segmentation map"))
    labels = labels.resize(photo.size, Image.Resampling.NEAREST)
    tinted = np.array(photo)
    half = photo.width // 2
    colours = palette[np.asarray(labels)[:, half:]]
    tinted[:, half:] = (1 - TINT) * tinted[:, half:] + TINT * colours
    return Image.fromarray(tinted)


def _palette(index: Index) -> NDArray[np.uint8]:
    """Colours uint8 `(256, 3)`: the manifest's, and hues as unlike as can be for other numbers."""
    numbers = np.arange(MAX_CLASSES)
    hues = numbers * 0.618034 % 1 * 255  # the golden ratio never comes round again
    hsv = np.stack([hues, np.full(MAX_CLASSES, 190), 230 - 25 * (numbers % 4)], axis=1)
    colours = np.array(Image.fromarray(hsv.astype(np.uint8)[None], "HSV").convert("RGB"))[0]
    classes = read_seg_classes(index.directory)
    if classes is not None:
        colours[: len(classes)] = classes.palette
    return colours


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while font.getlength(text) > TILE_PX:
        text = text[:-2] + "…"
    return text


def _wrapped(text: str, width: int = 32) -> str:
    return "\n".join(text[start : start + width] for start in range(0, min(len(text), 256), width))

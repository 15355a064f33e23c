"""A picture of one query and its first answers: green frames are right, red ones wrong."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data.images import ImageError, read_rgb
from partitioning.atomic_file import atomic_path

RIGHT, WRONG, UNKNOWN = (0, 150, 60), (205, 30, 30), (110, 110, 110)
HEIGHT_PX, FRAME_PX, TEXT_PX = 200, 6, 16


class Answer(NamedTuple):
    """One picture of a panel.

    Attributes:
        path: Of the photo.
        is_right: None where that is not known.
        text: Below it.
    """

    path: Path
    is_right: bool | None
    text: str


def write_panel(path: Path, query: Path, answers: list[Answer]) -> None:
    """Write the query, then its answers from left to right, as PNG.

    A photo that cannot be read is a grey field that says so.
    """
    tiles = [_tile(Answer(query, None, "query"))] + [_tile(answer) for answer in answers]
    panel = np.concatenate(tiles, axis=1)
    with atomic_path(path) as temporary:
        Image.fromarray(panel).save(temporary, "PNG")


def _tile(answer: Answer) -> NDArray[np.uint8]:
    text = answer.text
    try:
        rgb = read_rgb(answer.path, min_side=HEIGHT_PX)
    except ImageError:
        rgb, text = np.full((HEIGHT_PX, HEIGHT_PX, 3), 128, np.uint8), f"unreadable; {text}"
    width = max(1, round(rgb.shape[1] * HEIGHT_PX / rgb.shape[0]))
    colour = {True: RIGHT, False: WRONG, None: UNKNOWN}[answer.is_right]
    outer = (width + 2 * FRAME_PX, HEIGHT_PX + 2 * FRAME_PX + TEXT_PX)
    tile = Image.new("RGB", outer, colour)
    tile.paste(Image.fromarray(rgb).resize((width, HEIGHT_PX)), (FRAME_PX, FRAME_PX))
    draw = ImageDraw.Draw(tile)
    draw.text((FRAME_PX, HEIGHT_PX + FRAME_PX + 2), text, fill=(255, 255, 255))
    return np.asarray(tile)

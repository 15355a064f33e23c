"""The photos of one part, from a folder or from their URLs, each read and decoded once."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import simplejpeg
from numpy.typing import NDArray

from data.images import ImageError, decode_rgb, decode_seg, read_bytes
from setup.packing.packed import Outcome
from setup.packing.part_plan import Part
from setup.packing.sample_metadata import with_scene_column
from setup.packing.settings import PackSettings

JPEG_QUALITY = 95
Pixels = NDArray[np.uint8]


class Photo(NamedTuple):
    """A photo on its way into the shard.

    Attributes:
        row: of the table.
        jpg: the file as it is packed.
        is_encoded: whether it was no JPEG before.
        rgb: upright uint8 `(H, W, 3)`; of a smaller size where no network looks at it.
        seg_png: the file of its map, if it has one.
        seg: the map, uint8 `(H, W)`.
        vector: its descriptor, float16 `(D,)`, if one was asked for.
    """

    row: dict[str, Any]
    jpg: bytes
    is_encoded: bool
    rgb: Pixels
    seg_png: bytes | None = None
    seg: Pixels | None = None
    vector: NDArray[np.float16] | None = None


def read_photos(settings: PackSettings, part: Part, outcome: Outcome) -> Iterator[Photo]:
    """Yield the photos of a part in the order of the table; a row without one is refused."""
    rows = with_scene_column(part.rows())
    lost = _download(settings, part, rows) if settings.url_csv else {}
    for fields in rows.astype(object).itertuples(index=False):  # Arrow's values come slowly
        row = fields._asdict()
        if row["id"] in lost:
            outcome.refuse(row, lost[row["id"]])
            continue
        try:
            photo = _read(row, settings, part)
        except ValueError as error:
            outcome.refuse(row, reason(error))
        else:
            yield photo


def reason(error: ValueError) -> str:
    """Why a row is refused, the cause before a colon."""
    return f"{'undecodable' if isinstance(error, ImageError) else 'unusable'}: {error}"


def _read(row: dict[str, Any], settings: PackSettings, part: Part) -> Photo:
    given = settings.images
    data = read_bytes(given / row["path"] if given else part.work / f"{row['id']}.jpg")
    is_jpeg = data.startswith(b"\xff\xd8\xff")
    is_looked_at = bool(settings.segmenter or settings.embed)
    # Decoded in any case: a truncated photo must be found now and not in training.
    small_enough = 1 if is_jpeg and not is_looked_at else 0
    rgb = decode_rgb(data, row["image_id"], min_side=small_enough)
    jpg = data if is_jpeg else simplejpeg.encode_jpeg(rgb, quality=JPEG_QUALITY)
    photo = Photo(row, jpg, not is_jpeg, rgb)
    if settings.seg is None or pd.isna(row["seg"]):
        return photo
    path = settings.seg / row["seg"]
    seg_png = read_bytes(path)
    return photo._replace(seg_png=seg_png, seg=decode_seg(seg_png, str(path)))


def _download(settings: PackSettings, part: Part, rows: pd.DataFrame) -> dict[str, str]:
    """Have the part's photos in its folder; why each one that is not there is not, by key."""
    from setup.download_images import download  # brings a client that a folder does without

    wanted = zip(rows["image_id"], rows["url"], strict=True)
    with redirect_stderr(io.StringIO()):  # a bar for each part would hide the one for all
        report = download(wanted, part.work, settings.download, resume=True)
    return {row.key: f"not downloaded, {row.error}" for row in report.rows if row.error}

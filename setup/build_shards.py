"""Pack a folder of photos and their table into shards for `train_vit.py`.

    python -m setup.build_shards --images DIR --csv photos.csv --output DIR [--seg DIR]

Writes OUTPUT/train and OUTPUT/val (and OUTPUT/test), each with manifest and index
(data/shards.py), and OUTPUT/refused_photos.csv: every row that did not get in, and why. Photos are
found by their id, with or without an extension, or by the key that `setup.download_images` names
them by. JPEGs are packed as they are, orientation tag included, which our readers obey; other
formats become upright JPEGs. The same input gives the same bytes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg
from rich.console import Console
from rich.progress import Progress

from data.images import ImageError, decode_rgb, decode_seg, read_bytes
from data.shards import ShardWriter
from data.tables import PhotoTable, read_photo_table
from setup.packed import Packed
from setup.sample_metadata import READERS, metadata, with_scene_column
from setup.split_photos import SPLITS, split_photos

REFUSED = "refused_photos.csv"
JPEG_QUALITY = 95
COLUMNS = ["row", "image_id", "id", "path", "lat", "lon", *READERS]


def build_shards(
    images: Path,
    csv: Path,
    output: Path,
    seg: Path | None = None,
    samples_per_shard: int = 2000,
    val_share: float = 0.1,
    test_share: float = 0.0,
    seed: int = 0,
) -> Packed:
    """Pack photos into `output/train`, `output/val` and `output/test`.

    Args:
        images: folder of photos named by their ids.
        csv: table of id, lat, lon and whatever else `data.tables` reads.
        output: an empty folder, or one that is not there.
        seg: folder of class-index PNGs; a photo without one is packed without, a photo whose map
            is damaged or of another size is refused.
        samples_per_shard: samples in a shard.
        val_share: share of the photos for validation, whole photographers.
        test_share: share of the photos for testing, likewise.
        seed: of the draw; see `setup.split_photos`.

    Raises:
        ValueError: `output` is not empty, the table is unusable, no photo of it is in `images`, or
            a split stays empty.
    """
    _check_folders(images, seg, output)
    packed = Packed()
    photos = _found(read_photo_table(csv, make_safe_keys=True), images, packed)
    if photos.empty:
        raise ValueError(
            f"none of the photos of {csv} is in {images}; photos must be named by their id"
        )
    split = split_photos(_groups(photos), val_share, test_share, seed)
    with Progress(console=Console(stderr=True)) as progress:
        for number in np.unique(split):
            name, part = SPLITS[number], photos[split == number]
            with ShardWriter(output / name, samples_per_shard) as writer:
                rows = part.itertuples(index=False)
                for row in progress.track(rows, total=len(part), description=name):
                    _pack(row._asdict(), seg, writer, packed)
                packed.samples[name] = len(writer)
    packed.write_refused(output / REFUSED)
    for name, count in packed.samples.items():
        if not count:
            raise ValueError(f"{output / name} stays empty: see {output / REFUSED}")
    return packed


def _check_folders(images: Path, seg: Path | None, output: Path) -> None:
    for folder in (images, seg):
        if folder is not None and not folder.is_dir():
            raise ValueError(f"no folder {folder}")
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder, or remove what is in it")


def _found(table: PhotoTable, images: Path, packed: Packed) -> pd.DataFrame:
    """The rows whose photo is there, with `COLUMNS`; the others are refused."""
    from data.folder_photos import EXTENSIONS, find  # brings torch, which --help can do without

    packed.refused += table.refused[["row", "id", "reason"]].itertuples(index=False, name=None)
    # The table's rows are those refused and, in order, those that are not.
    every = np.arange(1, len(table.photos) + len(table.refused) + 1)
    photos = with_scene_column(table.photos).assign(row=np.setdiff1d(every, table.refused["row"]))
    paths = [
        find(images, image_id, EXTENSIONS) or find(images, key, (".jpg",))
        for image_id, key in zip(photos["image_id"], photos["id"], strict=True)
    ]
    photos = photos.reindex(columns=COLUMNS).assign(path=pd.Series(paths, dtype=object))
    is_lost = photos["path"].isna()
    lost = photos.loc[is_lost, ["row", "image_id"]].itertuples(index=False, name=None)
    packed.refused += [(row, image_id, "no such photo") for row, image_id in lost]
    return photos[~is_lost]


def _groups(photos: pd.DataFrame) -> list[tuple[str, str]]:
    """What stays in one split: an author's photos, or a photo of which no author is known."""
    pairs = zip(photos["author"], photos["id"], strict=True)
    return [("photo", key) if pd.isna(who) else ("author", str(who)) for who, key in pairs]


def _pack(row: dict, seg: Path | None, writer: ShardWriter, packed: Packed) -> None:
    """Write one sample, or list why it cannot be."""
    name = row["image_id"]
    try:
        data = read_bytes(row["path"])
        is_jpeg = data.startswith(b"\xff\xd8\xff")
        # Decoded in any case: a truncated photo must be found now and not in training.
        rgb = decode_rgb(data, name, min_side=1 if is_jpeg else 0)
        png = _map(seg, row) if seg else None
        jpg = data if is_jpeg else simplejpeg.encode_jpeg(rgb, quality=JPEG_QUALITY)
        writer.write(row["id"], jpg, metadata(row, packed.unreadable), png)
    except ValueError as error:
        kind = "undecodable" if isinstance(error, ImageError) else "unusable"
        packed.refused.append((row["row"], name, f"{kind}: {error}"))
        return
    packed.encoded += not is_jpeg
    packed.unmapped += seg is not None and png is None


def _map(folder: Path, row: dict) -> bytes | None:
    from data.folder_photos import map_of

    path = map_of(folder, row["image_id"]) or map_of(folder, row["id"])
    if path is None:
        return None
    data = read_bytes(path)
    decode_seg(data, str(path))
    return data


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.build_shards",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of photos named by their ids")
    add("--csv", type=Path, required=True, help="table of id, lat, lon, and author, s3 ... if any")
    add("--output", type=Path, required=True, help="empty folder for the shards")
    add("--seg", type=Path, help="folder of segmentation maps: class-index PNGs")
    add("--samples_per_shard", type=int, default=2000, help="samples in a shard")
    add("--val_share", type=float, default=0.1, help="share for validation, whole photographers")
    add("--test_share", type=float, default=0.0, help="share for OUTPUT/test")
    add("--seed", type=int, default=0, help="of the draw")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)
    try:
        packed = build_shards(**vars(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = ", ".join(f"{name} {count:,}" for name, count in packed.samples.items())
    print(f"samples in {options.output}: {counts}")
    notes = {f"refused, {reason}": count for reason, count in packed.refusals().items()}
    notes |= {"encoded to JPEG": packed.encoded, "without segmentation map": packed.unmapped}
    notes |= {f"unreadable {name}, left out": n for name, n in packed.unreadable.items()}
    for note, count in notes.items():
        if count:
            print(f"  {count:,} {note}")
    if packed.refused:
        print(f"each refused row is in {options.output / REFUSED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

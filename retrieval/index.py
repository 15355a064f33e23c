"""Build a gallery: describe photos of known position and store them in S2 order.

    python -m retrieval.index --model runs/NAME --images DIR --csv F --gallery OUT
    python -m retrieval.index --place_model runs/TOWN --images DIR --csv F --gallery OUT

Descriptors are the model bundle's own, or those of a place model that `python -m retrieval.train`
wrote; `geolocate.py` is then given the same --place_model beside its bundle. The table needs an id,
lat and lon for each photo and may have author, licence, url, heading and captured_at, which the
gallery keeps. Photos that cannot be read and rows that cannot be used are counted and listed.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from models.bundles.bundle import Bundle
from retrieval.answering.novelty import Novelty
from retrieval.galleries.description import Model, describe_photos, image_size_of, maker_of
from retrieval.galleries.header import check_accuracy
from retrieval.galleries.photo_table import FIELDS
from retrieval.gallery import Gallery, check_target

KEPT = tuple(name for name in FIELDS if name not in ("key", "path"))


def build_gallery(
    model: Model,
    images: Path,
    csv: Path,
    directory: Path,
    accuracy_m: float = 25.0,
    overwrite: bool = False,
    batch_size: int = 32,
    workers: int = 2,
    device: str = "auto",
) -> tuple[Gallery, list[str]]:
    """Describe the photos of a table and write their gallery.

    Args:
        model: a bundle, or a place model.
        images: folder of photos, named by id.
        csv: table of id, lat, lon and what else is known.
        directory: of the gallery, to be made.
        accuracy_m: how accurate the table's positions are said to be.
        overwrite: replace a gallery that is there.
        batch_size: photos described at a time.
        workers: processes that load photos.
        device: auto, cpu or cuda.

    Returns:
        The gallery, and what was left out and why.

    Raises:
        ValueError: the table or all photos are unusable, or the directory must not be replaced.
    """
    from data.photos.folder_photos import FolderPhotos

    check_target(directory, overwrite)  # before the work, not after it
    check_accuracy(accuracy_m, "accuracy_m")
    if batch_size < 1:
        raise ValueError(f"--batch_size must be 1 or more, got {batch_size}")
    photos = FolderPhotos(images, csv, image_size_of(model))
    left_out = [f"row {r.row}: {r.id}: {r.reason}" for r in photos.table.refused.itertuples()]
    described = describe_photos(model, photos, batch_size, workers, device)
    facts, no_headings = _facts(photos.table.photos)
    records = [
        {"key": key, "path": photos.path_of(key).relative_to(images).as_posix(), **facts[key]}
        for key in described.keys
    ]
    maker = maker_of(model)
    gallery = Gallery.create(
        directory,
        described.descriptors,
        described.lat,
        described.lon,
        records,
        maker.sha256,
        overwrite=overwrite,
        accuracy_m=accuracy_m,
        descriptor_model=maker.kind,
    )
    Novelty(gallery).save()
    return gallery, left_out + no_headings + described.unreadable


def open_model(model: Path | None, place_model: Path | None) -> Model:
    """The model that is to describe photos: the place model where one is named.

    Raises:
        ValueError: neither is named, or what is named is no whole model.
    """
    if place_model is not None:
        if model is not None:
            sys.stderr.write("note: --model is not used: descriptors are --place_model's\n")
        from models.places.place_model import load_place_model

        return load_place_model(place_model)
    if model is None:
        raise ValueError(
            "name what describes the photos: --model, a bundle that train_vit.py wrote, or "
            "--place_model, what `python -m retrieval.train` wrote"
        )
    return Bundle.open(model)


def _facts(photos: pd.DataFrame) -> tuple[dict[str, dict[str, object]], list[str]]:
    """What the gallery keeps of each photo, by id, and which headings are none."""
    facts, unusable = photos.set_index("image_id"), []
    if "heading" in facts.columns:
        headings = pd.to_numeric(facts["heading"], errors="coerce")
        unusable = facts.index[headings.isna() & facts["heading"].notna()].tolist()
        facts = facts.assign(heading=headings)
    kept = facts[[name for name in KEPT if name in facts.columns]].to_dict("index")
    plain_facts = {
        str(key): {name: plain(value) for name, value in row.items()} for key, row in kept.items()
    }
    return plain_facts, [f"the heading of {key}: not a number" for key in unusable]


def plain(value: object) -> object:
    """A table's value as SQLite takes it; a missing one is None."""
    if value is None or value != value:  # NaN differs from itself
        return None
    return value.item() if hasattr(value, "item") else value


def main(arguments: list[str] | None = None) -> int:
    """Build a gallery from the command line."""
    parser = argparse.ArgumentParser(
        description="Build a gallery of photos of known position.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="model bundle; its own descriptors are kept")
    add("--place_model", type=Path, metavar="DIR", help="what retrieval.train wrote: its "
        "descriptors are kept, and no --model is needed")  # fmt: skip
    add("--images", type=Path, required=True, metavar="DIR", help="folder of photos, named by id")
    add("--csv", type=Path, required=True, metavar="F", help="table of id, lat, lon, ...")
    add("--gallery", type=Path, required=True, metavar="OUT", help="gallery directory to make")
    add("--accuracy_m", type=float, default=25.0, help="accuracy of the positions, m")
    add("--overwrite", action="store_true", help="replace a gallery that is there")
    add("--batch_size", type=int, default=32, help="photos described at a time")
    add("--workers", type=int, default=2, help="processes (--place_model: threads) that load them")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    p = parser.parse_args(arguments)
    try:
        model = open_model(p.model, p.place_model)
        gallery, left_out = build_gallery(
            model, p.images, p.csv, p.gallery, p.accuracy_m, p.overwrite, p.batch_size, p.workers,
            p.device,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"gallery {p.gallery}: {len(gallery)} photos, {len(left_out)} left out\n")
    sys.stdout.writelines(f"  left out: {reason}\n" for reason in left_out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

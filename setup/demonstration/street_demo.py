"""The street half of the demo: landmark photographs, EfficientNet-Lite, leave-one-out.

Called by setup/demo.py. `encode_landmarks` runs the frozen network once; `leave_one_out` (see
setup/demonstration/leave_one_out.py) tests; `build_street_model` makes the bundle and gallery that
geolocate.py answers with, from which the photos of `query_rows` were left out.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from data.images import crop_square, read_rgb
from models.bundles.bundle import Bundle
from models.export import save_bundle
from models.geocell_vit import Architecture, GeocellViT
from partitioning.atomic_file import atomic_path
from partitioning.partition import LEVELS
from retrieval.answering.novelty import Novelty
from retrieval.gallery import Gallery
from setup.demonstration.leave_one_out import ACCURACY_M, Photos, fit_world, gallery_records

BACKBONE, IMG_SIZE = "efficientnet_lite1", 320
UNKNOWN_EVERY = 4  # of the places with one photo, every fourth is kept out of the final gallery


def street_model(num_cells: dict[str, int]) -> GeocellViT:
    """EfficientNet-Lite with its ImageNet weights, and fresh heads."""
    shape = Architecture(num_cells, BACKBONE, inputs="rgb", img_size=IMG_SIZE)
    return GeocellViT(shape).eval()


def read_landmarks(directory: Path) -> pd.DataFrame:
    """The table of the landmark photos that are there, each picture once."""
    table = pd.read_csv(directory / "landmarks.csv", keep_default_na=False)
    there = [(directory / "img" / f"{img_id}.jpg").is_file() for img_id in table.img_id]
    return table[np.array(there) & (table.same_as == "")].reset_index(drop=True)


@torch.inference_mode()
def encode_landmarks(directory: Path) -> Photos:
    """Encode every landmark photo with the frozen network."""
    table = read_landmarks(directory)
    model = street_model(dict.fromkeys(LEVELS, 1))
    summaries, descriptors = [], []
    for img_id in track(table.img_id, description="encode landmark photos"):
        square = crop_square(read_rgb(directory / "img" / f"{img_id}.jpg"), IMG_SIZE)
        rgb = torch.from_numpy(square).permute(2, 0, 1)[None]
        features = model.encoder(rgb, rgb[:, 0], torch.tensor([False]))
        summaries.append(features.summary[0].numpy())
        descriptors.append(model.descriptor_head(features.patches)[0].numpy())
    return Photos(table, np.stack(summaries), np.stack(descriptors))


def query_rows(table: pd.DataFrame) -> np.ndarray:
    """Photos kept out of the final gallery: one of each place with two views, a few single ones.

    Of a place with several different views the last one; its near-copies go with it. Of the
    places with one photo every `UNKNOWN_EVERY`-th.
    """
    held: set[str] = set()
    singles = 0
    for _, group in table.groupby("place", sort=True):
        views = group[group.near_view == ""]
        if len(views) > 1:
            last = views.img_id.iloc[-1]
            held |= {last, *group.img_id[group.near_view == last]}
        elif len(group) == 1:
            singles += 1
            if singles % UNKNOWN_EVERY == 0:
                held.add(group.img_id.iloc[0])
    return np.flatnonzero(table.img_id.isin(held).to_numpy())


def build_street_model(photos: Photos, model_dir: Path, gallery_dir: Path) -> Bundle:
    """Fit heads on all but the query photos; write bundle, gallery and queries.csv."""
    queries = query_rows(photos.table)
    kept = photos.take(np.setdiff1d(np.arange(len(photos.table)), queries))
    world, heads = fit_world(kept)
    model = street_model({level: len(c) for level, c in world.partition.levels.items()})
    for level, head in heads.items():
        model.cell_heads[level] = head
    origin = {
        "name": "Groundfix demo: landmarks",
        "training photos": len(kept.table),
        "validation": "cross-prediction over the training photos, places held out together",
        "backbone": f"{BACKBONE}, ImageNet weights, frozen",
        "scene labels": 0,
    }
    bundle = save_bundle(model, world.partition, world.calibration, model_dir, origin)
    table = kept.table
    gallery = Gallery.create(
        gallery_dir,
        kept.descriptors,
        table.lat.to_numpy(),
        table.lon.to_numpy(),
        gallery_records(table),
        bundle.model_sha256,
        overwrite=True,
        accuracy_m=ACCURACY_M,
    )
    Novelty(gallery).save()
    write_queries(photos.table, queries, set(table.place), model_dir / "queries.csv")
    return bundle


def write_queries(
    table: pd.DataFrame, queries: np.ndarray, gallery_places: Iterable[str], path: Path
) -> None:
    """List the photos nobody has seen, and whether their place is in the gallery."""
    rows = table.iloc[queries][["img_id", "place", "lat", "lon"]]
    known = rows.place.isin(set(gallery_places))
    with atomic_path(path) as temporary:
        rows.assign(known=known).to_csv(temporary, index=False)

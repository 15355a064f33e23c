"""Where NetVLAD's centres start: k-means over local features of training photos.

500 photos x 100 places of each, drawn at random; faiss clusters them. The paper's recipe:
Arandjelovic et al., "NetVLAD", 2016, https://arxiv.org/abs/1511.07247.
"""

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from data.place_sets.photos import PlacePhotos
from models.aggregators.netvlad import NetVLAD
from models.places.embedder import Embedder
from retrieval.descriptor_cache import Engine, in_evaluation, normal, precision

PHOTOS, PLACES = 500, 100
ITERATIONS = 100
Descriptors = NDArray[np.float32]


def start_netvlad(
    embedder: Embedder, photos: PlacePhotos, engine: Engine, seed: int = 0
) -> float | None:
    """Set an embedder's NetVLAD from k-means over photos; others are left as they are.

    Returns:
        NetVLAD's alpha, None without NetVLAD.

    Raises:
        ValueError: fewer features than centres, or photos that are all alike.
    """
    if not isinstance(embedder.aggregator, NetVLAD):
        return None
    features = sample_features(embedder, photos, engine, seed)
    centres = cluster(features, embedder.settings.clusters, seed)
    device = embedder.aggregator.centroids.device
    pair = (torch.from_numpy(array).to(device) for array in (centres, features))
    return embedder.aggregator.start_from(*pair)


@torch.inference_mode()
def sample_features(
    embedder: Embedder, photos: PlacePhotos, engine: Engine, seed: int = 0
) -> Descriptors:
    """Local features `(N, D)` of length 1, from random places of random photos that can be read."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(photos), generator=generator)[:PHOTOS].tolist()
    found = []
    with in_evaluation(embedder), precision(engine):
        for members, pictures in photos.batches(rows, engine.batch, engine.workers):
            maps = embedder.local(normal(pictures, embedder, engine.device)).float().cpu()
            for row, places in zip(members, maps.flatten(2).transpose(1, 2), strict=True):
                chosen = torch.randperm(len(places), generator=generator)[:PLACES]
                if photos.is_readable(row):
                    found.append(functional.normalize(places[chosen], dim=1))
    if not found:
        raise ValueError("none of the photos to cluster could be read")
    return torch.cat(found).numpy()


def cluster(features: Descriptors, clusters: int, seed: int = 0) -> Descriptors:
    """Centres `(K, D)` of features `(N, D)`; the same seed gives the same ones.

    Raises:
        ValueError: fewer features than centres.
    """
    count, width = features.shape
    if count < clusters:
        raise ValueError(
            f"{count} local features cannot make {clusters} clusters; give more photos, larger "
            "ones, or fewer --clusters"
        )
    kmeans = faiss.Kmeans(
        width,
        clusters,
        niter=ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=count,  # all of them; faiss would take 256 a centre
    )
    kmeans.train(np.ascontiguousarray(features))
    return np.array(kmeans.centroids, np.float32)

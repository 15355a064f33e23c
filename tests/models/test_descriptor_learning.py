"""Trained jointly, the descriptor retrieves places better than the trunk's pooled features."""

import numpy as np
import torch
from torch.nn import functional

from models.evaluation.paired_test import mcnemar
from models.gem import GeM
from models.geocell_vit import Architecture, GeocellViT
from models.losses.geocell import GeocellLoss
from models.losses.settings import LossSettings
from partitioning.partition import LEVELS, build_partition

PLACES, SIDE, PATCH, STEPS, BATCH, EACH = 12, 32, 8, 80, 48, 8
TINY = {"patch_size": PATCH, "embed_dim": 24, "depth": 2, "num_heads": 2}


def tiled(random, count):
    """Textures `(count, 3, SIDE, SIDE)` of -1 and 1, one patch of them repeated."""
    patch = random.choice([-1.0, 1.0], (count, 3, PATCH, PATCH))
    return np.tile(patch, (1, 1, SIDE // PATCH, SIDE // PATCH))


def photos_of(places, textures, random):
    """The faint texture of a place in any light, half of it hidden by strong ones of nowhere."""
    count, patches = len(places), SIDE // PATCH
    light = random.uniform(0.2, 0.8, (count, 3, 1, 1))
    noise = random.normal(0, 0.1, (count, 3, SIDE, SIDE))
    hidden = random.random((count, 1, patches, patches)) < 0.5
    hidden = hidden.repeat(PATCH, 2).repeat(PATCH, 3)
    shown = np.where(hidden, 0.3 * tiled(random, count), 0.15 * textures[places])
    return torch.from_numpy((np.clip(light + noise + shown, 0, 1) * 255).astype(np.uint8))


def without_maps(count):
    return torch.zeros(count, SIDE, SIDE, dtype=torch.uint8), torch.zeros(count).bool()


def train(retrieval):
    """A model of cells that are one place each; returns it and what the places look like."""
    random = np.random.default_rng(0)
    lat, lon = np.linspace(-60, 60, PLACES), np.linspace(-170, 170, PLACES)
    partition = build_partition(lat.repeat(60), lon.repeat(60), dict.fromkeys(LEVELS, (1, 60)))
    cells = torch.from_numpy(np.stack([partition.levels[k].assign(lat, lon) for k in LEVELS], 1))
    assert len(set(cells[:, -1].tolist())) == PLACES
    textures = tiled(random, PLACES)
    torch.manual_seed(0)
    counts = {level: len(partition.levels[level]) for level in LEVELS}
    shape = Architecture(
        counts, "vit_tiny_patch16_224", TINY, inputs="rgb", img_size=SIDE, descriptor_dim=24
    )
    model = GeocellViT(shape, pretrained=False)
    loss = GeocellLoss(LossSettings(retrieval=retrieval), partition)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(STEPS):
        places = random.integers(0, PLACES, BATCH)
        outputs = model(photos_of(places, textures, random), *without_maps(BATCH))
        at = torch.from_numpy(lat[places]), torch.from_numpy(lon[places])
        optimizer.zero_grad()
        loss(outputs, cells[places], torch.full((BATCH,), -1), *at).total.backward()
        optimizer.step()
    return model.eval(), textures


def first_is_right(features, places):
    """One photo of each place is the gallery; whether each other photo finds its own place."""
    unit = functional.normalize(features, dim=1)
    nearest = (unit[PLACES:] @ unit[:PLACES].T).argmax(1).numpy()
    return places[:PLACES][nearest] == places[PLACES:]


def test_the_descriptor_retrieves_better_than_pooled_features():
    places, right = np.tile(np.arange(PLACES), 1 + EACH), {}
    for retrieval in ("multi_similarity", "none"):
        model, textures = train(retrieval)
        rgb = photos_of(places, textures, np.random.default_rng(1))  # not those trained on
        with torch.no_grad():
            _, patches = model.encoder(rgb, *without_maps(len(rgb)))
            right["mean", retrieval] = first_is_right(patches.mean(1), places)
            right["GeM", retrieval] = first_is_right(GeM()(patches), places)
            right["head", retrieval] = first_is_right(model.descriptor_head(patches), places)
    described = right.pop(("head", "multi_similarity"))
    # The head is GeM and a projection: GeM of the trunk that was trained through it is as good.
    assert described.mean() >= right.pop(("GeM", "multi_similarity")).mean()
    for pooled in right.values():
        better, worse = int((described & ~pooled).sum()), int((pooled & ~described).sum())
        assert better > worse
        assert mcnemar(better, worse) < 0.01

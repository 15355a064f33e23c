"""A tiny partition and a tiny bundle, made once: the ONNX export alone takes seconds."""

import fcntl
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once
# Tiny networks gain nothing from threads, and on a busy machine threads that wait for each other
# make a test take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from models.evaluation.calibration import Calibration
from partitioning.partition import build_partition


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One process more than cores for `-n auto`: there is always one that waits for a server."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session")
def partition():
    """Three nested levels over 3,000 clustered positions."""
    rng = np.random.default_rng(0)
    lat = np.clip(rng.choice([-30, 10, 45, 52], 3000) + rng.normal(0, 4, 3000), -89, 89)
    lon = rng.choice([-100, 5, 12, 110], 3000) + rng.normal(0, 4, 3000)
    t = {"coarse": (10, 800), "middle": (10, 200), "fine": (10, 60)}
    return build_partition(lat, lon, t)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: a folder that `make(folder)` fills for all of xdist's processes.

    Tests that change its files copy it first.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name, make):
        place, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                make(place)
                done.touch()
        return place

    return folder


@pytest.fixture(scope="session")
def bundle(made_once, partition):
    """A two-branch ViT with random weights; tests that change its files copy it first."""
    from models.bundles.bundle import Bundle

    def make(folder):
        save_tiny_bundle(folder / "bundle", partition)

    return Bundle.open(made_once("run", make) / "bundle")


def save_tiny_bundle(directory, partition):
    """Write that bundle."""
    import torch

    from models.export import save_bundle
    from models.geocell_vit import Architecture, GeocellViT

    torch.manual_seed(0)
    args = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    cells = {level: len(cells) for level, cells in partition.levels.items()}
    shape = Architecture(cells, "vit_tiny_patch16_224", args, img_size=32)
    model = GeocellViT(shape, pretrained=False)
    calibration = Calibration(1.5, ((0.9, 0.97),), 0.1, 50)
    save_bundle(model, partition, calibration, directory, {"name": "tiny"})


@pytest.fixture(scope="session")
def save_tiny_place_model(tmp_path_factory):
    """Save a place model of random weights; `save_tiny_place_model(seed)` gives its folder."""

    def save(seed=0):
        import torch

        from models.places.embedder import Embedder, EmbedderSettings
        from models.places.place_model import save_place_model

        torch.manual_seed(seed)
        settings = EmbedderSettings("test_resnet", "gem", img_size=32)
        directory = tmp_path_factory.mktemp("place_model") / str(seed)
        save_place_model(directory, Embedder(settings, pretrained=False), (24, 32), {})
        return directory

    return save


@pytest.fixture(scope="session")
def place_model(save_tiny_place_model):
    """The folder of a place model of random weights; it sees 24 x 32 px."""
    return save_tiny_place_model()


@pytest.fixture(scope="session")
def tiny_segformer(tmp_path_factory):
    """A folder of the model hub's format: a SegFormer with random weights and seven classes."""
    import models.torchvision_cure  # noqa: F401  isort: skip  (transformers imports torchvision)
    import torch
    import transformers

    torch.manual_seed(0)
    names = ("road", "sky", "building", "tree", "sea", "roof", "pole")
    shape = {"depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16}
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], id2label=dict(enumerate(names)), **shape
    )
    folder = tmp_path_factory.mktemp("hub") / "segformer"
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    # A mean and a deviation of its own: using another must show.
    size, mean, std = {"height": 64, "width": 64}, [0.1, 0.4, 0.7], [0.2, 0.3, 0.1]
    transformers.SegformerImageProcessor(size=size, image_mean=mean, image_std=std).save_pretrained(
        folder
    )
    return folder


LABELS = "S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban"


def _field_rows(count, seed, image_id):
    """Ids, positions and labels as the field's tables print them: `[id, lat, lon, labels]`."""
    rng = np.random.default_rng(seed)
    lat, lon = np.round(rng.uniform(-60, 70, count), 6), np.round(rng.uniform(-180, 180, count), 6)
    lat[0], lon[0] = 2.5e-05, -1e-06  # printed as 2.5e-05
    probabilities = rng.dirichlet([0.05, 0.2, 0.3], count)
    rows = []
    for i in range(count):
        p = probabilities[i].tolist()
        labels = [int(probabilities[i].argmax()), int(rng.integers(16)), int(rng.integers(365)), *p]
        position = [repr(float(lat[i])), repr(float(lon[i]))]
        rows.append([image_id(i, rng), *position, ",".join(map(repr, labels))])
    return rows


def _mp16_id(i, rng):
    return f"{rng.integers(256):02x}/{rng.integers(256):02x}/{5136118018 + i}.jpg"


def _im2gps_id(i, rng):
    place = "" if i % 2 else f"Antigua_{i:05d}_"
    return f"{place}{104123223 + i}_7410c654ba_{i % 99}_{19355699 + i % 40}@N00.jpg"


@pytest.fixture
def field_table(tmp_path):
    """Write a copy of one of the field's tables, made up but of its real shape.

    `field_table("mp16_places365.csv", count)` gives the path and the rows that it holds, each
    [id, lat, lon, labels] as text.
    """

    def make(name, count=40, seed=0):
        path = tmp_path / name
        if name.endswith("_urls.csv"):
            rows = _field_rows(count, seed, _mp16_id)
            urls = [
                f"{row[0]},http://farm5.staticflickr.com/4{i}/{i}_ab.jpg\n"
                for i, row in enumerate(rows)
            ]
            path.write_text(("image_id,url\n" if name.startswith("yfcc") else "") + "".join(urls))
        elif name.startswith("im2gps"):
            rows = _field_rows(count, seed, _im2gps_id)
            header = f"IMG_ID,AUTHOR,LAT,LON,{LABELS}"
            lines = [f"{r[0]},{r[0][-16:-4]},{r[1]},{r[2]},{r[3]}" for r in rows]
            path.write_text("\n".join([header, *lines]) + "\n")
        elif name.startswith("mp16"):
            rows = _field_rows(count, seed, _mp16_id)
            lines = [f"{i},{','.join(row)}" for i, row in enumerate(rows)]
            path.write_bytes("\r\n".join([f",IMG_ID,LAT,LON,{LABELS}", *lines, ""]).encode())
        else:  # yfcc25600, yfcc4k
            rows = _field_rows(count, seed, _mp16_id)
            lines = ['"{}",{},{},{}'.format(*row) for row in rows]
            path.write_text("\n".join([f"IMG_ID,LAT,LON,{LABELS}", *lines]))
        return path, rows

    return make

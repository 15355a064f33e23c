"""How fast photos are judged for cleaning: the light regressor against a segmentation network.

    python -m benchmarks.cleaning [--photos DIR --count 32 --short_side 640 --device auto]

Both ways go from files to shares of buildings, decoding included, as `setup.clean_places` runs them
(models/building/sources.py, models/building/model.py). The segmentation network has the
size of SegFormer-B0 with ADE20K's 150 classes, the smallest that is in use, so the ratio is the
least to expect; the regressor is a ResNet18 at 128 px. Both have RANDOM weights: speed only, how
well one stands in for the other is what `python -m models.building_share train` reports. Goal: 10
times as fast a photo.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import simplejpeg
import torch
import transformers
from PIL import Image

from models.building.model import ModelShares, ShareRegressor
from models.building.sources import SegmenterShares, ShareSource
from models.devices import pick_device
from models.segmentation.segmenter import Segmenter

GOAL = 10
CLASSES = 150


def save_segformer(folder: Path) -> str:
    """Save a network of SegFormer-B0's size with random weights as the hub would."""
    torch.manual_seed(0)
    names = {number: f"class {number}" for number in range(CLASSES)} | {1: "building"}
    config = transformers.SegformerConfig(id2label=names)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor().save_pretrained(folder)
    return str(folder)


def write_photos(folder: Path, count: int, short_side: int) -> list[Path]:
    """SYNTHETIC photos, smooth and colourful, 4:3."""
    random, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        size = (short_side * 4 // 3, short_side)
        rgb = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(simplejpeg.encode_jpeg(rgb, quality=90))
    return paths


def seconds_a_photo(source: ShareSource, paths: Sequence[Path], rounds: int) -> float:
    """Median of several rounds."""
    list(source.measure(paths[:4]))  # warm up
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = list(source.measure(paths))
        times.append((time.perf_counter() - began) / len(paths))
        if errors := [one.error for one in found if one.error]:
            raise SystemExit(f"error: {errors[0]}")
    return statistics.median(times)


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--photos", type=Path, help="folder of real photos; else synthetic ones")
    add("--count", type=int, default=32, help="photos for the regressor")
    add("--segmented", type=int, default=6, help="of them for the segmentation network")
    add("--short_side", type=int, default=640, help="of the synthetic photos, px")
    add("--size", type=int, default=128, help="what the regressor sees, px")
    add("--backbone", default="resnet18", help="of the regressor")
    add("--device", default="auto", help="cpu, cuda, or auto")
    add("--rounds", type=int, default=3, help="timed rounds")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    device = pick_device(options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_photos(folder, options.count, options.short_side)
        if options.photos:
            paths = sorted(options.photos.rglob("*.jp*g"))[: options.count]
            if not paths:
                raise SystemExit(f"error: no *.jpg under {options.photos}")
        segmenter = Segmenter.load(save_segformer(folder / "segformer"), str(device))
        slow = seconds_a_photo(
            SegmenterShares(segmenter), paths[: options.segmented], options.rounds
        )
        regressor = ShareRegressor(options.backbone, options.size).to(device)
        fast = seconds_a_photo(ModelShares(regressor), paths, options.rounds)
    kind = "photos" if options.photos else f"SYNTHETIC photos, {options.short_side} px"
    print(f"{kind}, RANDOM weights, {device.type}, median of {options.rounds} rounds")
    print(f"  SegFormer-B0's size   {1e3 * slow:8.1f} ms a photo")
    print(f"  {options.backbone} at {options.size} px     {1e3 * fast:8.1f} ms a photo")
    print(f"  {slow / fast:.1f}x as fast; goal {GOAL}x")


if __name__ == "__main__":
    main()

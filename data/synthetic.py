"""Synthetic photos in shards, to try the machinery: `train_vit.py --fast`, tests.

Each picture is a colour that depends on its position, with noise, and a segmentation map that
depends on its latitude; so a model can learn something, and nothing about the world.
"""

import io
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from data.shards import ShardWriter

CENTRES = ((48.0, 8.0), (-20.0, -50.0), (35.0, 110.0), (5.0, 30.0))  # lat, lon, degrees


def write_synthetic_shards(
    directory: Path, train: int = 96, val: int = 32, size_px: int = 40
) -> Path:
    """Write `directory`/train and `directory`/val; what is there already is kept.

    Every third photo has no segmentation map and every fifth no scene.
    """
    for seed, (split, count) in enumerate((("train", train), ("val", val))):
        rng = np.random.default_rng(seed)
        if (directory / split / "manifest.parquet").exists():
            continue
        with ShardWriter(directory / split, samples_per_shard=64) as writer:
            for i in range(count):
                lat, lon = CENTRES[i % len(CENTRES)] + rng.normal(0, 3, 2)
                jpg, seg_png = _picture(lat, lon, size_px, rng)
                metadata = {"lat": float(lat), "lon": float(lon)}
                if i % 5:
                    metadata["s3"] = np.eye(3)[i % 3].tolist()
                writer.write(f"{split}_{i}", jpg, metadata, seg_png if i % 3 else None)
    return directory


def _picture(lat: float, lon: float, size_px: int, rng: np.random.Generator) -> tuple[bytes, bytes]:
    colour = np.array([lat + 90, lon + 180, 180 + lat - lon]) * (255 / 360)
    noisy = colour + rng.normal(0, 12, (size_px, size_px, 3))
    seg = np.full((size_px, size_px), int((lat + 90) // 30), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(seg).save(buffer, "PNG")
    return simplejpeg.encode_jpeg(np.clip(noisy, 0, 255).astype(np.uint8)), buffer.getvalue()

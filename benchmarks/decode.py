"""How fast a JPEG becomes a normalised 224 px training tensor, against Pillow + torchvision.

    python -m benchmarks.decode [--photos DIR]

Both sides do the whole way on one thread: file bytes, random resized crop, tensor, ImageNet
normalisation, batch of 32. Theirs is `PIL.Image.open(...).convert("RGB")`, then
`RandomResizedCrop(224)`, `ToTensor`, `Normalize`. Two ranges of the crop's area: torchvision's
default, 8 to 100%, and our default, from 50%, where the decoder can scale large photos more often.
Two JPEG qualities: 75, the default of libjpeg and Pillow, and 85. The floor is undoing the entropy
code, which no scaling shortens: decoding at 1/8 of the size takes little else, and is printed.
Processor seconds of the thread, rounds in turn, so that a busy machine slows both alike; the median
round counts. Goals: 2.2x at 320 px, 3x at 1024 px.
"""

import argparse
import io
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import models.torchvision_cure  # noqa: F401  isort: skip  (before torchvision)
import numpy as np
import simplejpeg
import torch
import torchvision.transforms as tv
from PIL import Image

from data.images import IMAGENET_MEAN, IMAGENET_STD, decode_rgb, image_size, shrunk_by
from data.transforms import TrainTransform, normalize

SIZE, BATCH = 224, 32
SCALES = ((0.08, 1.0), (0.5, 1.0))
QUALITIES = (75, 85)  # of the JPEGs; the higher, the less the decoder gains by scaling
GOALS = {320: 2.2, 1024: 3.0}

Files = list[bytes]
Way = Callable[[Files], object]


def photographs(
    folder: Path | None, short_side: int, quality: int = QUALITIES[-1], count: int = BATCH
) -> Files:
    """JPEGs of those photos under `folder` that are large enough; of noise where it is None."""
    pictures = _synthetic(count) if folder is None else _opened(folder, count, short_side)
    return [_encoded(picture, short_side, quality) for picture in pictures]


def theirs(files: Files, scale: tuple[float, float]) -> torch.Tensor:
    """Pillow and torchvision, as their documentation has it."""
    transform = tv.Compose(
        [
            tv.RandomResizedCrop(SIZE, scale=scale),
            tv.ToTensor(),
            tv.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    pictures = (Image.open(io.BytesIO(file)).convert("RGB") for file in files)
    return torch.stack([transform(picture) for picture in pictures])


def ours(files: Files, scale: tuple[float, float]) -> torch.Tensor:
    """The steps of data/stream.py."""
    transform, generator = TrainTransform(SIZE, scale=scale), torch.Generator().manual_seed(0)
    squares = []
    for file in files:
        height, width = image_size(file)
        geometry = transform.geometry(height, width, generator)
        pixels = decode_rgb(file, min_side=min(height, width) // geometry.factor)
        factor = shrunk_by(height, width, pixels)
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
        squares.append(transform.apply(rgb, None, geometry, generator, factor)[0])
    return normalize(torch.stack(squares))


def decode_only(files: Files) -> list[np.ndarray]:
    """The decoder in full size and nothing else."""
    return [simplejpeg.decode_jpeg(file) for file in files]


def entropy_only(files: Files) -> list[np.ndarray]:
    """The decoder at 1/8: one number a block is left to do after undoing the entropy code."""
    return [simplejpeg.decode_jpeg(file, min_height=1, min_width=1) for file in files]


def seconds_per_photo(ways: list[Way], files: Files, rounds: int) -> list[float]:
    """Median processor seconds a photo of each way, rounds taken in turn."""
    taken: list[list[float]] = [[] for _ in ways]
    for round_number in range(rounds + 1):  # the first one warms up
        for way, times in zip(ways, taken, strict=True):
            start = time.thread_time()
            way(files)
            if round_number:
                times.append((time.thread_time() - start) / len(files))
    return [statistics.median(times) for times in taken]


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    parser.add_argument(
        "--quality",
        type=int,
        nargs="+",
        default=QUALITIES,
        help="of the JPEGs, 1 to 100 (default: 75 and 85)",
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default: 15)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
    print(f"{BATCH} {kind}, one thread, median of {options.rounds} alternating rounds")
    for (short_side, goal), quality in itertools.product(GOALS.items(), options.quality):
        files = photographs(options.photos, short_side, quality)
        ways: list[Way] = [partial(way, scale=scale) for scale in SCALES for way in (theirs, ours)]
        *times, full, entropy = seconds_per_photo(
            [*ways, decode_only, entropy_only], files, options.rounds
        )
        print(
            f"{short_side} px, quality {quality}: decoding alone {full * 1e3:.2f} ms in full size, "
            f"{entropy * 1e3:.2f} ms at 1/8"
        )
        for scale, slow, fast in zip(SCALES, times[::2], times[1::2], strict=True):
            print(
                f"  crops from {scale[0]:>3.0%}: Pillow + torchvision {slow * 1e3:5.2f} ms, ours "
                f"{fast * 1e3:.2f} ms: {slow / fast:.2f}x (goal {goal}x); {full / fast:.0%} of the "
                "speed of decoding alone (goal 60%)"
            )


def _opened(folder: Path, count: int, short_side: int) -> list[Image.Image]:
    paths = [
        path for path in sorted(folder.rglob("*.jp*g")) if min(Image.open(path).size) >= short_side
    ]
    if not paths:
        raise SystemExit(f"error: no *.jpg of {short_side} px or more under {folder}")
    return [Image.open(paths[i % len(paths)]).convert("RGB") for i in range(count)]


def _synthetic(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)
    return [
        Image.fromarray(pixels).resize((1366, 1024), Image.Resampling.BICUBIC) for pixels in coarse
    ]


def _encoded(picture: Image.Image, short_side: int, quality: int) -> bytes:
    scale = short_side / min(picture.size)
    size = tuple(round(edge * scale) for edge in picture.size)
    resized = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return simplejpeg.encode_jpeg(np.asarray(resized), quality=quality, colorsubsampling="420")


if __name__ == "__main__":
    main()

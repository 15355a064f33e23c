"""Photos to segmentation maps: what `setup.segment_images` does, against a plain loop.

    python -m benchmarks.segment [--count 8 --short_side 320 640 --batch 8 --device auto]

The loop is what transformers' pages show: one photo at a time through AutoImageProcessor, the model
and post_process_semantic_segmentation, then Pillow's PNG. Ours is the pipeline that the command
runs on each shard. On a processor the network itself takes most of the time of small photos, and
both ways wait for it; the larger the photo, the more is saved by interpolating only classes that
can win. Goals with SegFormer-B0's size on two cores: 1.2x at 320 px, 2x at 640 px. On a GPU, where
the network is the least of it: 3x (give it more: --count 512 --batch 64).

Networks of two sizes, RANDOM weights: a tiny one, and SegFormer-B0's (512 px, 150 classes). A photo
shows about a dozen of ADE20K's classes, so a dozen get a head start; without it all 150 would lie
close together, which no trained network's do.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import simplejpeg
import torch
import transformers
from PIL import Image

from data.images import decode_seg
from data.sample import Sample
from models.segmentation.segmenter import Segmenter
from setup.segmenting.samples import segmented_samples

NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 16},
    "SegFormer-B0's size": {},
}
CLASSES, SHOWN = 150, 12
SHORT_SIDES = [320, 640]


def save_network(folder: Path, shape: dict[str, Any]) -> str:
    """Save a SegFormer with random weights as the hub would; returns its folder."""
    torch.manual_seed(0)
    names = {number: f"class {number}" for number in range(CLASSES)}
    config = transformers.SegformerConfig(id2label=names, **shape)
    model = transformers.SegformerForSemanticSegmentation(config)
    # Random scores hardly differ between pixels; stretched, they make regions.
    classifier: Any = model.decode_head.classifier
    classifier.weight.data *= 30
    classifier.bias.data[:SHOWN] += 3 * 30**0.5
    model.save_pretrained(folder)
    transformers.SegformerImageProcessor().save_pretrained(folder)
    return str(folder)


def samples_of(photos: Path | None, count: int, short_side: int) -> list[Sample]:
    """Samples with real photos, or synthetic ones, of some size."""
    rng, samples = np.random.default_rng(0), []
    paths = sorted(photos.rglob("*.jp*g")) if photos else []
    if photos and not paths:
        raise SystemExit(f"error: no *.jpg under {photos}")
    for i in range(count):
        if paths:
            picture = Image.open(paths[i % len(paths)]).convert("RGB")
        else:
            coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((1024, 768), Image.Resampling.BICUBIC)
        scale = short_side / min(picture.size)
        resized = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        jpg = simplejpeg.encode_jpeg(np.asarray(resized), quality=85)
        samples.append(Sample(f"photo{i}", jpg, None, {}))
    return samples


def plain_loop(folder: str, device: str) -> Callable[[list[Sample]], list[bytes]]:
    """One photo at a time, as in transformers' documentation."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(folder).to(device).eval()

    def run(samples: list[Sample]) -> list[bytes]:
        files = []
        for sample in samples:
            image = Image.open(io.BytesIO(sample.jpg)).convert("RGB")
            inputs = processor(images=image, return_tensors="pt").to(device)
            with torch.no_grad():
                outputs = model(**inputs)
            size = [image.size[::-1]]
            seg = processor.post_process_semantic_segmentation(outputs, target_sizes=size)[0]
            file = io.BytesIO()
            Image.fromarray(seg.cpu().numpy().astype(np.uint8)).save(file, "PNG")
            files.append(file.getvalue())
        return files

    return run


def ours(segmenter: Segmenter, batch: int) -> Callable[[list[Sample]], list[bytes]]:
    """The pipeline of `setup.segment_images`."""

    def run(samples: list[Sample]) -> list[bytes]:
        return [one.sample.seg_png or b"" for one in segmented_samples(segmenter, samples, batch)]

    return run


def measure(
    ways: list[Callable[[list[Sample]], list[bytes]]], samples: list[Sample], rounds: int
) -> tuple[list[float], list[list[bytes]]]:
    """Photos a second of each way, median of alternating rounds, and what each gave."""
    files = [way(samples[:2]) for way in ways]  # warms up
    rates: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for number, way in enumerate(ways):
            start = time.perf_counter()
            files[number] = way(samples)
            rates[number].append(len(samples) / (time.perf_counter() - start))
    return [statistics.median(rate) for rate in rates], files


def agreement(theirs: list[bytes], ours: list[bytes]) -> float:
    """Share of the pixels that have one class in both ways' maps."""
    pairs = [(decode_seg(a), decode_seg(b)) for a, b in zip(theirs, ours, strict=True)]
    return float(np.mean([(a == b).mean() for a, b in pairs]))


def main() -> None:
    """Print the rates and their ratio for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    add("--count", type=int, default=8, help="photos (default: 8)")
    add("--short_side", type=int, nargs="+", default=SHORT_SIDES, help="px (default: 320 640)")
    add("--batch", type=int, default=8, help="photos in a batch of ours (default: 8)")
    add("--device", default="auto", help="cpu, cuda, or auto (default)")
    add("--rounds", type=int, default=2, help="timed rounds (default: 2)")
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
    print(f"{options.count} {kind}, RANDOM weights, median of {options.rounds} alternating rounds")
    for name, shape in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = save_network(Path(folder) / "segformer", shape)
            segmenter = Segmenter.load(path, options.device)
            ways = [plain_loop(path, str(segmenter.device)), ours(segmenter, options.batch)]
        for short_side in options.short_side:
            samples = samples_of(options.photos, options.count, short_side)
            (theirs, mine), files = measure(ways, samples, options.rounds)
            print(
                f"  {name}, {short_side} px, {segmenter.device.type}: loop {theirs:.2f} photos/s, "
                f"ours {mine:.2f}: {mine / theirs:.2f}x; {agreement(*files):.1%} of pixels alike"
            )


if __name__ == "__main__":
    main()

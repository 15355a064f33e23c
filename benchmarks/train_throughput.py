"""Photos a second in training, and what share of the processor's peak that is.

    python -m benchmarks.train_throughput
    python -m benchmarks.train_throughput --device cuda --backbone vit_base_patch16_224

1. `train_vit.py`'s own trainer on one batch that is there already (synthetic-fed), against a plain
   loop of timm and PyTorch: eager, automatic mixed precision (and float32 on a CPU, where bfloat16
   may be emulated), the same backbone and batch. Goals: 2x on a GPU, towards 3,500 photos/s = 37%
   MFU of ViT-B/16 224 on one H100 or H200; 1.5x on a CPU with vit_tiny.
2. The same trainer fed from shards of 320 px JPEGs. Goal: at least 95% of synthetic-fed.
3. Peak memory, and how many cores the loader needs to keep up.
"""

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import numpy as np
import pytorch_lightning as pl
import simplejpeg
import timm
import torch
from torch.nn import functional

from benchmarks.flops import peak_flops, step_flops
from data.sampler import Pick
from data.shards import ShardWriter
from models.training.photo_module import PhotoModule
from models.training.progress import quiet
from models.training.recipe import Recipe
from models.training.run_parts import build_photos, build_task
from models.training.trainer import build_trainer

WARM_UP = 3  # batches before the clock starts


class Clock(pl.Callback):
    """Seconds from the end of the warm-up to the last batch."""

    def __init__(self, device: torch.device, batches: int) -> None:
        self.device, self.batches, self.seconds = device, batches, 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, out: Any, batch: Any, i: int) -> None:
        """Start and stop."""
        if i + 1 == WARM_UP:
            self.start = now(self.device)
        elif i + 1 == self.batches:
            self.seconds = now(self.device) - self.start


def now(device: torch.device) -> float:
    """Time, when the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Repeated:
    """One batch, again and again."""

    def __init__(self, batch: dict[str, Any], times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.times):
            yield self.batch


def write_photos(folder: Path, count: int, size_px: int = 320) -> None:
    """Shards of `count` photos, noise that compresses about as a photograph does."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    noise = rng.normal(0, 12, (size_px, size_px, 3))
    jpg = simplejpeg.encode_jpeg(np.clip(smooth + noise, 0, 255).astype(np.uint8), quality=85)
    for split, number in (("train", count), ("val", 8)):
        with ShardWriter(folder / split) as writer:
            for i in range(number):
                position = {"lat": float(i % 50), "lon": float(i % 100), "s3": [0.2, 0.3, 0.5]}
                writer.write(f"{split}{i:07d}", jpg, position, None)


def ours(recipe: Recipe, is_fed_by_shards: bool) -> float:
    """Photos a second of train_vit.py's trainer."""
    with tempfile.TemporaryDirectory() as name, redirect_stderr(io.StringIO()):
        out = Path(name)
        photos = build_photos(recipe, out)
        task = build_task(recipe, photos)
        if recipe.compile:
            task.compile_model()
        trainer, _ = build_trainer(recipe, out)
        batches = photos.num_train // recipe.batch_size
        clock = Clock(trainer.strategy.root_device, batches)
        # no progress bar, no checkpoints, no validation
        trainer.callbacks = [clock]  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0
        if is_fed_by_shards:
            trainer.fit(task, datamodule=photos)
        else:
            first = next(iter(photos.train_dataloader()))
            trainer.fit(task, train_dataloaders=Repeated(first, batches))
    return (batches - WARM_UP) * recipe.batch_size / clock.seconds


def plain(
    recipe: Recipe, classes: int, batches: int, is_mixed: bool, device: torch.device
) -> float:
    """Photos a second of a loop as the libraries' first pages show it."""
    model = timm.create_model(recipe.backbone, num_classes=classes, img_size=recipe.img_size).to(
        device
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    size = (recipe.batch_size, 3, recipe.img_size, recipe.img_size)
    images = torch.randn(size, device=device)
    labels = torch.randint(0, classes, (recipe.batch_size,), device=device)
    for batch in range(batches):
        if batch == WARM_UP:
            start = now(device)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()  # as loops that print the loss do
    return (batches - WARM_UP) * recipe.batch_size / (now(device) - start)


def loader_rate(photos: PhotoModule) -> float:
    """Photos a second that one core loads."""
    samples = min(64, photos.num_train)
    start = time.thread_time()
    for sample in range(samples):
        photos.train_stream[Pick(0, sample)]
    return samples / (time.thread_time() - start)


def peak_memory(device: torch.device) -> str:
    """The most memory used so far."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB on the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB resident"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument("--backbone", default="vit_tiny_patch16_224", help="a ViT of timm")
    parser.add_argument("--img_size", type=int, default=224, help="px (default: 224)")
    parser.add_argument("--batch_size", type=int, help="default: 8 on a CPU, 256 on a GPU")
    parser.add_argument("--batches", type=int, help="timed ones; default: 4 on a CPU, 60 on a GPU")
    parser.add_argument("--workers", type=int, help="loader processes; default: 1, on a GPU 6")
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    device = torch.device(options.device)
    quiet()
    with tempfile.TemporaryDirectory() as name:
        size = options.batch_size or (256 if on_gpu else 8)
        batches = (options.batches or (60 if on_gpu else 4)) + WARM_UP
        write_photos(Path(name), size * batches)
        workers = options.workers if options.workers is not None else (6 if on_gpu else 1)
        recipe = Recipe(
            data=name, out=name, inputs="rgb", backbone=options.backbone, pretrained=False,
            img_size=options.img_size, batch_size=size, epochs=1, workers=workers,
            device=options.device, precision="bf16-mixed" if on_gpu else "32-true",
            compile=on_gpu, t_coarse=(1, 5000), t_middle=(1, 2000), t_fine=(1, 1000),
        )  # fmt: skip
        report(recipe, batches, device)


def report(recipe: Recipe, batches: int, device: torch.device) -> None:
    """Print all figures."""
    photos = build_photos(recipe, Path(recipe.out))
    model = build_task(replace(recipe, device="cpu"), photos).model
    one = torch.zeros(1, 3, recipe.img_size, recipe.img_size, dtype=torch.uint8)
    flops = step_flops(model, (one, one[:, 0], torch.zeros(1, dtype=torch.bool)))
    peak, source = peak_flops(device)
    print(f"{recipe.backbone} {recipe.img_size} px, batch {recipe.batch_size}, {recipe.precision}")
    print(f"{flops / 1e9:.1f} GFLOP a photo, forward and backward; peak {peak / 1e12:.3g} TFLOP/s")
    print(f"  ({source})")
    synthetic, fed = ours(recipe, False), ours(recipe, True)
    classes = len(photos.partition.fine)
    print(
        f"ours, synthetic-fed: {synthetic:.1f} photos/s, MFU {synthetic * flops / peak:.1%}; peak "
        f"memory {peak_memory(device)}"
    )
    goal = "2x" if device.type == "cuda" else "1.5x"
    for is_mixed in (True,) if device.type == "cuda" else (True, False):
        # bfloat16 is slow where a CPU only emulates it: two batches tell enough
        few = WARM_UP + 2 if is_mixed and device.type == "cpu" else batches
        rate = plain(recipe, classes, few, is_mixed, device)
        name = "mixed precision" if is_mixed else "float32"
        print(
            f"plain timm loop, eager, {name}: {rate:.1f} photos/s, MFU {rate * flops / peak:.1%}; "
            f"ours is {synthetic / rate:.2f}x (goal {goal})"
        )
    per_core = loader_rate(photos)
    print(
        f"ours, fed from shards by {recipe.workers} workers: {fed:.1f} photos/s, "
        f"{fed / synthetic:.1%} of synthetic-fed (goal 95%); one core loads {per_core:.0f} "
        f"photos/s: {synthetic / per_core:.2f} cores keep up"
    )


if __name__ == "__main__":
    main()

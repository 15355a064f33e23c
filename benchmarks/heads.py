"""What a head over 100,000 cells costs in memory and time: whole logits against blocks of them.

    python -m benchmarks.heads [--photos 512 --cells 100000 --width 768 --device cuda]

One step of the head alone, forward and backward, float32: a linear layer and torch's cross-entropy
("dense"), and models/losses/memory_light_head.py in blocks ("chunked") and with drawn cells
("sampled"); the first two also with distance-smoothed labels of 75 km. Peak memory is what the step
adds to features and weights, the head's gradients included, which none can save: on the CPU by the
resident set of a process that does this one thing, on a GPU by torch's allocator. Time is processor
time of one thread on the CPU, elapsed time on a GPU, the best of three rounds. Goals: chunked in at
most a third of the dense memory beside the gradients, in at most 1.7 times its time (it computes
the logits twice: four products against three), equal loss and gradients.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.losses.distance_labels import DistanceLabels
from models.losses.memory_light_head import (
    LinearLogits,
    LogWeights,
    chunked_terms,
    dense_terms,
    sampled_cross_entropy,
)
from models.losses.multi_task import masked_cross_entropy

SAMPLES, TAU_KM, ROUNDS = 8192, 75.0, 3
Loss = Callable[[LinearLogits, Tensor, LogWeights], Tensor]


def dense(logits: LinearLogits, labels: Tensor, near: LogWeights) -> Tensor:
    """Torch's own cross-entropy of whole logits."""
    return masked_cross_entropy(logits.whole(), labels)


def chunked(logits: LinearLogits, labels: Tensor, near: LogWeights) -> Tensor:
    """The same in blocks."""
    terms = chunked_terms(logits, labels)
    return (terms.log_sum - terms.true).mean()


def dense_smoothed(logits: LinearLogits, labels: Tensor, near: LogWeights) -> Tensor:
    """Distance-smoothed labels, whole logits."""
    terms = dense_terms(logits.whole(), labels, near)
    return (terms.log_sum - terms.expected).mean()


def chunked_smoothed(logits: LinearLogits, labels: Tensor, near: LogWeights) -> Tensor:
    """The same in blocks."""
    terms = chunked_terms(logits, labels, near)
    return (terms.log_sum - terms.expected).mean()


def sampled(logits: LinearLogits, labels: Tensor, near: LogWeights) -> Tensor:
    """An estimate from drawn cells; its weight's gradient is as large as any."""
    return sampled_cross_entropy(logits, labels, SAMPLES, torch.Generator().manual_seed(0))


WAYS: dict[str, Loss] = {
    way.__name__: way for way in (dense, chunked, dense_smoothed, chunked_smoothed, sampled)
}


def problem(options: argparse.Namespace) -> tuple[LinearLogits, Tensor, LogWeights]:
    """Features, head, labels and distance-smoothed targets, the same in every process."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((options.photos, options.width), (options.cells, options.width), (options.cells,))
    tensors = [torch.randn(s, generator=generator).mul_(0.05) for s in shapes]
    head = LinearLogits(*(t.to(options.device).requires_grad_() for t in tensors))
    labels = torch.randint(options.cells, (options.photos,), generator=generator)
    lat = torch.rand(options.cells, generator=generator, dtype=torch.float64) * 120 - 60
    lon = torch.rand(options.cells, generator=generator, dtype=torch.float64) * 360 - 180
    distances = DistanceLabels(lat.numpy(), lon.numpy(), TAU_KM)
    photos = distances.photo_vectors(lat[labels].to(options.device), lon[labels].to(options.device))
    return head, labels.to(options.device), lambda a, b: distances.log_weights(photos, a, b)


def reset_peak(device: str) -> int:
    """Forget the most memory held so far; the bytes held now."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_bytes(device: str) -> int:
    """The most memory this process has held since; waits for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """A figure of Linux's /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def measure(way: Loss, options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of one step, the best time of several, the loss and its gradient's size."""
    head, labels, near = problem(options)
    few = LinearLogits(*(tensor[:64] for tensor in head))
    torch.autograd.grad(dense(few, labels[:64].clamp(max=63), near), list(head))  # warm up
    before = reset_peak(options.device)
    # Processor seconds of one thread: other work on the machine adds none, nor threads that wait.
    torch.set_num_threads(1)
    clock = time.perf_counter if options.device == "cuda" else time.process_time
    times = []
    for _ in range(ROUNDS):
        start = clock()
        loss = way(head, labels, near)
        gradients = torch.autograd.grad(loss, list(head))
        peak = peak_bytes(options.device)
        times.append(clock() - start)
        size = sum(gradient.norm().item() ** 2 for gradient in gradients)
        del loss, gradients
    loss_value = way(head, labels, near).item()
    return {
        "bytes": peak - before,
        "seconds": min(times),
        "loss": loss_value,
        "gradient": size**0.5,
    }


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one way in a process of its own: a resident set never shrinks."""
    arguments = [f"--{key}={value}" for key, value in vars(options).items() if key != "way"]
    command = [sys.executable, "-m", "benchmarks.heads", "--way", name, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"error: {name} failed:\n{answer.stderr}")
    return json.loads(answer.stdout)


def report(options: argparse.Namespace) -> None:
    """Measure every way and print it against its dense alternative."""
    gradients = 4 * (options.cells * (options.width + 1) + options.photos * options.width)
    logits = 4 * options.photos * options.cells
    print(
        f"{options.photos} photos, {options.cells:,} cells, width {options.width}, "
        f"{options.device}; logits {logits / 2**20:.0f} MiB, gradients {gradients / 2**20:.0f} MiB"
    )
    found = {name: in_own_process(name, options) for name in WAYS}
    for name, one in found.items():
        base = found["dense_smoothed" if name.endswith("smoothed") else "dense"]
        extra, base_extra = (max(x["bytes"] - gradients, 1) for x in (one, base))
        print(
            f"  {name:17} peak {one['bytes'] / 2**20:6.0f} MiB, {extra / 2**20:6.0f} beside the "
            f"gradients: {extra / base_extra:.2f}x dense; {one['seconds'] * 1e3:7.0f} ms: "
            f"{one['seconds'] / base['seconds']:.2f}x; loss {one['loss']:.6f}, "
            f"|gradient| {one['gradient']:.6f}"
        )
    print("  goals: chunked <= 0.33x the memory beside the gradients, <= 1.7x the time, same loss")


def main() -> None:
    """Measure, or be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--photos", type=int, default=512, help="in a batch; default: %(default)s")
    add("--cells", type=int, default=100_000, help="default: %(default)s")
    add("--width", type=int, default=768, help="of the features; default: %(default)s")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add("--way", choices=WAYS, help="measure this one here and print it as JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(WAYS[options.way], options)))
    else:
        report(options)


if __name__ == "__main__":
    main()

"""Photos a second that a trained model answers: torch in several ways, and ONNX Runtime.

    python -m benchmarks.inference
    python -m benchmarks.inference --device cuda --backbone vit_base_patch16_224

The named alternative is torch, eager, float32. Each way answers the same photos; beside its rate
stands the least cosine between its cell logits and float32's. Goals on a CPU: 2x in float32's class
(matmul precision "medium", or ONNX Runtime), 4x in bfloat16 where it keeps a cosine of 0.999 (only
where the CPU computes in bfloat16; one that emulates it is slower). Rounds of all ways alternate,
and the best of each counts, since a machine may be shared.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from models.export import export_onnx
from models.geocell_vit import Architecture, GeocellViT

CELLS = {"coarse": 100, "middle": 400, "fine": 1000}
Way = Callable[[torch.Tensor], torch.Tensor]  # uint8 photos -> logits of the fine cells


def in_torch(
    model: GeocellViT, device: torch.device, matmul: str = "highest", is_bf16: bool = False
) -> Way:
    """Torch, on `device`."""

    def answer(rgb: torch.Tensor) -> torch.Tensor:
        torch.set_float32_matmul_precision(matmul)
        rgb = rgb.to(device)
        seg = torch.zeros_like(rgb[:, 0])
        has_seg = torch.zeros(len(rgb), dtype=torch.bool, device=device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            return model(rgb, seg, has_seg).cells["fine"].float().cpu()

    return answer


def in_onnxruntime(model: GeocellViT, folder: Path) -> Way:
    """ONNX Runtime on the CPU, as geolocate.py uses it."""
    import onnxruntime

    export_onnx(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = {entry.name for entry in session.get_inputs()}

    def answer(rgb: torch.Tensor) -> torch.Tensor:
        photos = rgb.numpy()
        feed = {"rgb": photos, "seg": photos[:, 0], "has_seg": np.zeros(len(photos), dtype=bool)}
        found = session.run(["fine"], {name: feed[name] for name in names})[0]
        return torch.from_numpy(np.asarray(found))

    return answer


def seconds(way: Way, photos: torch.Tensor) -> float:
    """Of one answer to all photos."""
    start = time.perf_counter()
    way(photos)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument("--backbone", default="vit_tiny_patch16_224", help="a ViT of timm")
    parser.add_argument("--batch_size", type=int, default=4, help="photos at a time (default: 4)")
    parser.add_argument("--rounds", type=int, default=4, help="of all ways (default: 4)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (a minute)")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    shape = Architecture(CELLS, options.backbone, inputs="rgb")
    size = (options.batch_size, 3, shape.img_size, shape.img_size)
    photos = torch.randint(0, 256, size, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as name:
        on_cpu = GeocellViT(shape, pretrained=False).eval()
        ways: dict[str, Way] = {}
        if device.type == "cpu":
            ways["ONNX Runtime, float32"] = in_onnxruntime(on_cpu, Path(name))
        model = on_cpu.to(device)
        eager = "torch, eager, float32"
        ways = {
            eager: in_torch(model, device),
            "torch, matmul precision medium": in_torch(model, device, "medium"),
            "torch, bfloat16": in_torch(model, device, is_bf16=True),
            **ways,
        }
        if options.compile:
            compiled = GeocellViT(shape, pretrained=False).eval().to(device)
            compiled.load_state_dict(model.state_dict())
            compiled.compile()
            ways["torch, compiled, float32"] = in_torch(compiled, device)
            ways["torch, compiled, bfloat16"] = in_torch(compiled, device, is_bf16=True)
        print(f"{options.backbone}, {options.batch_size} photos at a time, {device}")
        report(ways, photos, eager, options.rounds)


def report(ways: dict[str, Way], photos: torch.Tensor, base: str, rounds: int) -> None:
    """Print each way's rate, its ratio to `base`, and how well it agrees with it."""
    expected = ways[base](photos)
    cosines = {
        name: float(functional.cosine_similarity(way(photos), expected).min())
        for name, way in ways.items()
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            best[name] = min(best[name], seconds(way, photos))
    for name, taken in best.items():
        print(
            f"  {name:32} {len(photos) / taken:8.1f} photos/s  {best[base] / taken:5.2f}x  "
            f"cosine {cosines[name]:.6f}"
        )


if __name__ == "__main__":
    main()

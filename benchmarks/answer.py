"""How long one answer takes from a cold start, and `--help`, against a bare interpreter and timm.

    python -m benchmarks.answer [--model runs/demo --gallery galleries/landmarks --photo F]

Each line is a process of its own, timed from outside, the ways in turn; the median counts. Goals:
`geolocate.py --help` within 0.1 s of a bare interpreter; an answer within 0.6 s through ONNX
Runtime and 1.5 s through torch, set where importing torch alone took 0.78 s: on slower machines
what counts is the ratio to that import, which is printed, at most 1.9. The named alternative is
what one would write with timm: import, build the same kind of network, one forward, no cells and
no gallery.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg

WITH_TIMM = """
import models.torchvision_cure, timm, torch, PIL.Image, torchvision.transforms as t
model = timm.create_model("tf_efficientnet_lite1", pretrained=False).eval()
steps = [t.Resize(320), t.CenterCrop(320), t.ToTensor(), t.Normalize([0.5] * 3, [0.5] * 3)]
with torch.inference_mode():
    model(t.Compose(steps)(PIL.Image.open({photo!r}).convert("RGB"))[None])
"""


def seconds(command: list[str]) -> float:
    """Wall seconds of one run of `python ...`, which must succeed."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": "."},
    )
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("runs/demo"), help="model bundle")
    parser.add_argument("--gallery", type=Path, default=Path("galleries/landmarks"), help="gallery")
    parser.add_argument("--photo", type=Path, help="default: a synthetic one of 1024 x 768")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each")
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        raise SystemExit(f"error: no model bundle in {options.model}; run `make demo` first")
    folder = tempfile.TemporaryDirectory()
    photo = str(options.photo or synthetic_photo(Path(folder.name) / "synthetic.jpg"))
    answer = ["geolocate.py", photo, "--model", str(options.model)]
    if options.gallery.is_dir():
        answer += ["--gallery", str(options.gallery)]
    commands = {
        "bare interpreter": ["-c", "pass"],
        "import torch": ["-c", "import torch"],
        "geolocate.py --help": ["geolocate.py", "--help"],
        "answer, ONNX Runtime": [*answer, "--engine", "onnx"],
        "answer, torch": [*answer, "--engine", "torch"],
        "timm, one forward": ["-c", WITH_TIMM.format(photo=photo)],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_number in range(options.runs + 1):  # the first one warms the file cache
        for name, command in commands.items():
            elapsed = seconds(command)
            if round_number:
                taken[name].append(elapsed)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, times in taken.items():
        ratio = medians["timm, one forward"] / medians[name]
        print(
            f"{name:24} median {medians[name]:.3f} s ({min(times):.3f}-{max(times):.3f}), "
            f"{ratio:.1f}x as fast as timm"
        )
    over = medians["geolocate.py --help"] - medians["bare interpreter"]
    print(f"--help over a bare interpreter: {over:.3f} s (goal 0.1)")
    print("goals of an answer: 0.6 s through ONNX Runtime, 1.5 s through torch")
    imports = medians["answer, torch"] / medians["import torch"]
    print(f"the answer through torch is {imports:.2f} bare imports of torch (goal 1.9)")


def synthetic_photo(path: Path) -> Path:
    """Write a smooth synthetic photo."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.write_bytes(simplejpeg.encode_jpeg(np.kron(coarse, np.ones((64, 64, 1), np.uint8))))
    return path


if __name__ == "__main__":
    main()

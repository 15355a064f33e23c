"""How fast ten pictures come out of a panorama, against a loop over pixels and py360convert.

    python -m benchmarks.panorama [--rounds 5]

Ten tiles of 480 x 640 px, 60 degrees wide, out of a SYNTHETIC panorama of 2048 x 1024 px, one
thread, processor seconds, rounds in turn, the median counts. The loop turns the ray of each pixel
by matrices and interpolates, in plain Python; it does every 400th pixel, and its time is scaled.
py360convert (https://github.com/sunset1995/py360convert) keeps its sampling positions from one call
to the next, as ours does: both are warm. It samples by OpenCV where that is installed, else by
scipy; which is printed. The first call, without anything kept, is printed too. Its pixels' middles
lie on the picture's edges, so it is asked for a picture that much narrower, and both must agree.
Goals: 5x the loop, 1x py360convert.
"""

import argparse
import importlib.util
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from data import panorama as ours_module
from data.panorama import even_yaws_deg, tiles, vertical_fov_deg

SIZE, HFOV_DEG, COUNT = (480, 640), 60.0, 10
STRIDE = 20  # the loop does every 20th row and column
GOALS = {"loop": 5.0, "py360convert": 1.0}

Panorama = NDArray[np.uint8]


def synthetic_panorama(height: int = 1024) -> Panorama:
    """Smooth random colours."""
    coarse = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (height, 2 * height), mode="bicubic")
    return (smooth[0].clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def ours(panorama: Panorama) -> list[NDArray[np.uint8]]:
    """All tiles."""
    return [tile.picture for tile in tiles(panorama, COUNT, HFOV_DEG, 0.0, SIZE)]


def theirs(panorama: Panorama) -> list[NDArray[np.uint8]]:
    """The same by py360convert."""
    from py360convert import e2p

    height, width = SIZE
    high = vertical_fov_deg(HFOV_DEG, SIZE)
    # Its outermost pixels' middles lie at the field of view's ends, ours half a pixel inside.
    narrowed = [
        2 * math.degrees(math.atan(math.tan(math.radians(fov) / 2) * (n - 1) / n))
        for fov, n in ((HFOV_DEG, width), (high, height))
    ]
    yaws = [(yaw + 180) % 360 - 180 for yaw in even_yaws_deg(COUNT)]
    return [e2p(panorama, (narrowed[0], narrowed[1]), yaw, 0, SIZE) for yaw in yaws]


def loop(panorama: Panorama, stride: int = STRIDE) -> list[NDArray[np.uint8]]:
    """Every `stride`-th row and column of all tiles, pixel by pixel."""
    height, width = (len(range(0, n, stride)) for n in SIZE)
    pictures = []
    for yaw in even_yaws_deg(COUNT):
        picture = np.empty((height, width, 3), np.uint8)
        for i in range(height):
            for j in range(width):
                picture[i, j] = _pixel(panorama, math.radians(yaw), i * stride, j * stride)
        pictures.append(picture)
    return pictures


def _pixel(panorama: Panorama, yaw: float, row: int, column: int) -> list[int]:
    rows, columns = panorama.shape[:2]
    half = math.tan(math.radians(HFOV_DEG) / 2)
    x = half * ((column + 0.5) / SIZE[1] * 2 - 1)
    y = half * (1 - (row + 0.5) / SIZE[0] * 2) * SIZE[0] / SIZE[1]
    ahead, right = math.cos(yaw) - x * math.sin(yaw), math.sin(yaw) + x * math.cos(yaw)
    u = (math.atan2(right, ahead) / (2 * math.pi) + 0.5) * columns - 0.5
    v = (0.5 - math.atan2(y, math.hypot(right, ahead)) / math.pi) * rows - 0.5
    i, j = math.floor(v), math.floor(u)
    down, across = v - i, u - j
    corners = [panorama[i + a, (j + b) % columns].tolist() for a in (0, 1) for b in (0, 1)]
    shares = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    return [
        int(sum(share * corner[c] for share, corner in zip(shares, corners, strict=True)) + 0.5)
        for c in range(3)
    ]


def seconds(way: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    way()
    return time.process_time() - start


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    panorama = synthetic_panorama()
    has_peer = importlib.util.find_spec("py360convert") is not None
    ours_module._rays.cache_clear()
    first = seconds(lambda: ours(panorama))
    share = STRIDE * STRIDE
    ways: dict[str, Callable[[], object]] = {"ours": lambda: ours(panorama)}
    ways["loop"] = lambda: loop(panorama)
    if has_peer:
        first_of_peer = seconds(lambda: theirs(panorama))
        ways["py360convert"] = lambda: theirs(panorama)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            times[name].append(seconds(way) * (share if name == "loop" else 1))
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{COUNT} tiles of a SYNTHETIC panorama, one thread, median of {options.rounds} rounds")
    print(f"  ours           {median['ours']:8.3f} s (the first call {first:.3f} s)")
    print(
        f"  loop           {median['loop']:8.3f} s, scaled from one pixel of {share}: "
        f"{median['loop'] / median['ours']:.0f}x (goal {GOALS['loop']:g}x); "
        f"differs by {_difference(ours(panorama), loop(panorama), STRIDE)} levels at most"
    )
    if not has_peer:
        print("  py360convert is not installed: pip install py360convert, to compare with it")
        return
    engine = "OpenCV" if importlib.util.find_spec("cv2") else "scipy"
    print(
        f"  py360convert   {median['py360convert']:8.3f} s by {engine} (the first call "
        f"{first_of_peer:.3f} s): {median['py360convert'] / median['ours']:.2f}x "
        f"(goal {GOALS['py360convert']:g}x); "
        f"differs by {_difference(ours(panorama), theirs(panorama), 1)} levels at most"
    )


def _difference(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]], stride: int) -> int:
    whole = np.stack(a)[:, ::stride, ::stride].astype(int)
    return int(np.abs(whole - np.stack(b).astype(int)).max())


if __name__ == "__main__":
    main()

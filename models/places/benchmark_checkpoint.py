"""Checkpoints of the public visual place recognition benchmark, read into an `Embedder`.

Such a file holds `model_state_dict` with `backbone.*`, the cut network as one sequence, and
`aggregation.*`: GeM's `p`, NetVLAD's `conv.weight` and `centroids`, then the projection's `weight`
and `bias`, if there is one. Format: Berton et al., "Deep Visual Geo-localization Benchmark", 2022,
https://github.com/gmberton/deep-visual-geo-localization-benchmark.
"""

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from models.places.embedder import Embedder
from models.places.local_features import CLASSIC

AGGREGATIONS = ("gem", "netvlad")
_NAMES = (
    (re.compile(r"^backbone\.(.+)$"), r"extractor.network.\1"),
    (re.compile(r"^aggregation\.(?:\d+\.)*p$"), "aggregator.pool.p"),
    (re.compile(r"^aggregation\.(?:\d+\.)*conv\.weight$"), "aggregator.conv.weight"),
    (re.compile(r"^aggregation\.(?:\d+\.)*centroids$"), "aggregator.centroids"),
    (re.compile(r"^aggregation\.(?:\d+\.)*(weight|bias)$"), r"projection.\1"),
)


def load_benchmark_checkpoint(path: str | Path, embedder: Embedder) -> Embedder:
    """Load a checkpoint's weights into an embedder of the same parts.

    Args:
        path: The file, read as weights only: it cannot run code.
        embedder: Of ResNet, VGG16 or AlexNet with GeM or NetVLAD; `is_unit` False for GeM without
            projection, whose descriptors the benchmark leaves at their length.

    Returns:
        The embedder, for testing.

    Raises:
        ValueError: the file is no such checkpoint, or of other parts.
    """
    settings = embedder.settings
    if settings.backbone not in CLASSIC or settings.aggregation not in AGGREGATIONS:
        raise ValueError(
            f"such checkpoints are of {', '.join(CLASSIC)} with {', '.join(AGGREGATIONS)}, not of "
            f"{settings.backbone} with {settings.aggregation}"
        )
    renamed = {_renamed(name, path): value for name, value in _weights(path).items()}
    own = embedder.state_dict()
    if "aggregator.pool.p" in renamed:
        renamed["aggregator.pool.p"] = renamed["aggregator.pool.p"].reshape(())
    missing, extra = sorted(set(own) - set(renamed)), sorted(set(renamed) - set(own))
    shapes = [name for name in own if name in renamed and own[name].shape != renamed[name].shape]
    if missing or extra or shapes:
        raise ValueError(
            f"{path}: not of {settings.backbone} ({settings.cut}), {settings.aggregation}, fc_dim "
            f"{settings.fc_dim}: {len(missing)} weights missing, {len(extra)} unknown, "
            f"{len(shapes)} of another shape, such as {', '.join([*missing, *extra, *shapes][:3])}"
        )
    embedder.load_state_dict(renamed)
    return embedder.eval()


def _weights(path: str | Path) -> dict[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as weights: {what}") from None
    weights = held.get("model_state_dict", held) if isinstance(held, dict) else None
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path}: holds no model_state_dict of weights")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _renamed(name: str, path: str | Path) -> str:
    for pattern, ours in _NAMES:
        if pattern.match(name):
            return pattern.sub(ours, name)
    raise ValueError(f"{path}: {name!r} is no weight of such a checkpoint")

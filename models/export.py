"""Write a model bundle: safetensors, ONNX, config, cells, calibration, model card.

    python -m models.export runs/NAME          export model.onnx again from the weights

The ONNX file is compared with the torch model on random photos before it is kept.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.bundles.bundle import (
    AUTHORS,
    CALIBRATION,
    CARD,
    CELLS,
    CONFIG,
    FORMAT,
    ONNX,
    PUBLISHED,
    WEIGHTS,
    Bundle,
)
from models.bundles.card import model_card
from models.evaluation.author_hashes import write_author_hashes
from models.evaluation.calibration import Calibration
from models.geocell_vit import GeocellViT
from models.weights import sha256_of
from partitioning import partition as partition_file
from partitioning.atomic_file import atomic_path
from partitioning.partition import Partition

# Largest difference of an output's entry, torch to ONNX, in units of the output's largest entry
# where that is above 1: float32 keeps seven digits of it, and logits on noise can reach hundreds.
PARITY_TOLERANCE = 1e-4


def save_bundle(
    model: GeocellViT,
    partition: Partition,
    calibration: Calibration,
    directory: str | Path,
    origin: dict[str, Any],
    authors: Iterable[str] | None = None,
) -> Bundle:
    """Write the bundle of a trained model and open it.

    Args:
        model: the trained model.
        partition: the partition its heads predict.
        calibration: fitted on validation photos.
        directory: made if it is not there; other files in it stay.
        origin: how the model came about (settings, counts, figures), plain types only.
        authors: of the training photos, kept as hashes; None where they are not known.

    Raises:
        ValueError: the ONNX model does not agree with the torch model.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # No config, no bundle: what is interrupted here cannot pass for a mix of old and new.
    (directory / CONFIG).unlink(missing_ok=True)
    model = model.cpu().eval()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    partition_file.save(partition, directory / CELLS)
    write_text(directory / CALIBRATION, calibration.to_json())
    (directory / AUTHORS).unlink(missing_ok=True)  # of a model that lay here before
    if authors is not None:
        write_author_hashes(directory, authors)
    export_onnx(model, directory / ONNX)
    files = {
        name: sha256_of(directory / name)
        for name in PUBLISHED
        if name not in (CONFIG, CARD) and (directory / name).is_file()
    }
    config = {
        "format": FORMAT,
        "architecture": model.architecture.as_dict(),
        "model_sha256": files[WEIGHTS],
        "cells_fingerprint": partition.fingerprint,
        "files": files,
        "origin": origin,
    }
    write_text(directory / CARD, model_card(config, partition, calibration))
    write_text(directory / CONFIG, json.dumps(config, indent=2))
    return Bundle.open(directory)


def load_model(bundle: Bundle) -> GeocellViT:
    """Rebuild the torch model of a bundle, in evaluation mode.

    Raises:
        FileNotFoundError: model.safetensors is not there.
        ValueError: it does not fit the config.
    """
    return GeocellViT.from_pretrained(bundle.path)


class _Flat(nn.Module):
    """The model with a plain list of outputs, as the ONNX file has them."""

    def __init__(self, model: GeocellViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> list[Tensor]:
        prediction = self.model(rgb, seg, has_seg)
        return [*prediction.cells.values(), prediction.scene, prediction.descriptor]


def export_onnx(model: GeocellViT, path: Path) -> float:
    """Write `path`, after comparing it with the torch model; return the largest difference.

    Raises:
        ValueError: outputs differ by more than `PARITY_TOLERANCE`.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    inputs = ("rgb", "seg", "has_seg")
    with atomic_path(path) as temporary:
        with warnings.catch_warnings():  # the exporter's own deprecations; parity is tested below
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Flat(model).eval(),
                _random_photos(2, model.architecture.img_size),
                dynamo=True,
                dynamic_shapes={name: {0: batch} for name in inputs},
                input_names=inputs,
                output_names=[*model.architecture.num_cells, "scene", "descriptor"],
                verbose=False,
            )
        if program is None:
            raise ValueError("torch.onnx.export gave no program")
        program.save(temporary, external_data=False)
        difference = onnx_difference(model, temporary)
        if not difference <= PARITY_TOLERANCE:
            raise ValueError(f"the ONNX export differs from the torch model by {difference:.2g}")
    return difference


def onnx_difference(model: GeocellViT, path: Path, photos: int = 3) -> float:
    """Largest difference on random photos, ONNX Runtime to torch; see `PARITY_TOLERANCE`."""
    import onnxruntime

    inputs = _random_photos(photos, model.architecture.img_size)
    with torch.inference_mode():
        expected = _Flat(model).eval()(*inputs)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = dict(zip(("rgb", "seg", "has_seg"), (x.numpy() for x in inputs), strict=True))
    wanted = {entry.name for entry in session.get_inputs()}
    outputs = session.run(None, {name: feed[name] for name in wanted})
    return max(
        float(np.abs(a.numpy() - b).max()) / max(1.0, float(a.abs().max()))
        for a, b in zip(expected, outputs, strict=True)
    )


def _random_photos(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    seg = torch.randint(0, 256, (count, size, size), dtype=torch.uint8, generator=generator)
    return rgb, seg, torch.arange(count) % 2 == 0


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def export_again(bundle: Bundle) -> float:
    """Write model.onnx of a bundle anew, and its hash; return the largest difference to torch.

    Raises:
        ValueError: the outputs differ.
    """
    difference = export_onnx(load_model(bundle), bundle.path / ONNX)
    if "files" in bundle.config:
        files = {**bundle.config["files"], ONNX: sha256_of(bundle.path / ONNX)}
        config = {**bundle.config, "files": files}
        write_text(bundle.path / CONFIG, json.dumps(config, indent=2))
    return difference


def main() -> int:
    """Export a bundle's ONNX file again."""
    parser = argparse.ArgumentParser(description="Export model.onnx again from a bundle's weights.")
    parser.add_argument("bundle", type=Path, help="the bundle's directory")
    try:
        bundle = Bundle.open(parser.parse_args().bundle)
        difference = export_again(bundle)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{bundle.path / ONNX}: within {difference:.1e} of torch\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Encode one photo with a bundle: through ONNX Runtime without importing torch, or through torch.

ONNX Runtime starts in a fifth of the time that torch takes to import, which is most of what a
single answer costs; torch serves where it is loaded anyway.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from data.images import crop_square
from models.bundles.bundle import Bundle

ENGINES = ("onnx", "torch")
Pixels = NDArray[np.uint8]


class Encoding(NamedTuple):
    """What the model says of one photo.

    Attributes:
        logits: level -> float32 `(C_level,)`, coarse to fine.
        scene: logits float32 `(scenes,)`.
        descriptor: float32 `(D,)`, of length 1.
        maps: feature maps float32 `(C, h, w)` that its matches are re-ranked by; None without.
        notes: what an answer must say of how the photo was read.
    """

    logits: dict[str, NDArray[np.float32]]
    scene: NDArray[np.float32]
    descriptor: NDArray[np.float32]
    maps: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()


class Session(Protocol):
    """Something that encodes photos."""

    def encode(self, rgb: Pixels, seg: Pixels | None = None) -> Encoding:
        """Encode a photo uint8 `(H, W, 3)` and, where there is one, its class map `(H, W)`."""
        ...


class OnnxSession:
    """A bundle's model.onnx.

    Raises:
        FileNotFoundError: the bundle has none.
        ValueError: it is damaged.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        path = bundle.path / "model.onnx"
        if not path.is_file():
            raise FileNotFoundError(
                f"{bundle.path} has no model.onnx: export it with "
                f"`python -m models.export {bundle.path}`, or answer with --engine torch"
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no base but this
            raise ValueError(
                f"{path} cannot be read ({error}): export it again with "
                f"`python -m models.export {bundle.path}`"
            ) from error
        self._bundle = bundle
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    def encode(self, rgb: Pixels, seg: Pixels | None = None) -> Encoding:
        """Encode a photo uint8 `(H, W, 3)` and, where there is one, its class map `(H, W)`."""
        feed = model_input(rgb, seg, self._bundle)
        outputs = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})
        return as_encoding(outputs, self._bundle, seg is not None)


def open_session(bundle: Bundle, engine: str = "onnx") -> Session:
    """Open a bundle's model with `engine`, one of `ENGINES`.

    Raises:
        ValueError: unknown engine.
        FileNotFoundError: the bundle lacks the file that engine reads.
    """
    if engine == "onnx":
        return OnnxSession(bundle)
    if engine == "torch":
        from models.bundles.torch_session import TorchSession

        return TorchSession(bundle)
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")


def model_input(rgb: Pixels, seg: Pixels | None, bundle: Bundle) -> dict[str, NDArray]:
    """Cut photo and map to the model's square and add the batch axis.

    Raises:
        ValueError: a map-only model without a map, or a map of another size than the photo.
    """
    if seg is None and bundle.config["architecture"]["inputs"] == "seg":
        raise ValueError(f"the model {bundle.path} reads segmentation maps only: give one (--seg)")
    if seg is not None and seg.shape != rgb.shape[:2]:
        raise ValueError(f"the segmentation map is {seg.shape}, the photo {rgb.shape[:2]}")
    size = bundle.img_size
    square = np.zeros((size, size), np.uint8) if seg is None else crop_square(seg, size)
    return {
        "rgb": np.ascontiguousarray(crop_square(rgb, size).transpose(2, 0, 1))[None],
        "seg": square[None],
        "has_seg": np.array([seg is not None]),
    }


def as_encoding(outputs: list[NDArray], bundle: Bundle, has_map: bool) -> Encoding:
    """Name the model's outputs, each `(1, ...)`: one for each level, scene, descriptor."""
    first = [np.asarray(output[0], dtype=np.float32) for output in outputs]
    logits = dict(zip(bundle.levels, first[:-2], strict=True))
    return Encoding(logits, first[-2], first[-1], notes=_map_notes(bundle, has_map))


def _map_notes(bundle: Bundle, has_map: bool) -> tuple[str, ...]:
    inputs = bundle.config["architecture"]["inputs"]
    if inputs == "both" and not has_map:
        return (
            "the model reads segmentation maps too and got none (--seg): it may be less sure, and "
            "less right, than on the photos it was calibrated with",
        )
    if inputs == "rgb" and has_map:
        return ("the model reads no segmentation map: the one given was not used",)
    return ()


def engine_of(path: Path) -> str:
    """The engine a bundle directory is best answered with."""
    return "onnx" if (path / "model.onnx").is_file() else "torch"


def warm_up(engine: str) -> None:
    """Import what `engine` needs, so that it can overlap with other reading."""
    if engine == "onnx":
        import onnxruntime  # noqa: F401
    else:
        import models.bundles.torch_session  # noqa: F401

"""Encode one photo through torch: where there is no ONNX file, or torch is loaded anyway."""

import torch

from models.bundles.bundle import Bundle
from models.bundles.session import Encoding, Pixels, as_encoding, model_input
from models.export import load_model


class TorchSession:
    """A bundle's model.safetensors on `device`."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        self._model = load_model(bundle).to(device)
        self._bundle = bundle
        self._device = device

    @torch.inference_mode()
    def encode(self, rgb: Pixels, seg: Pixels | None = None) -> Encoding:
        """Encode a photo uint8 `(H, W, 3)` and, where there is one, its class map `(H, W)`."""
        feed = model_input(rgb, seg, self._bundle)
        arguments = [torch.from_numpy(feed[name]).to(self._device) for name in feed]
        prediction = self._model(*arguments)
        outputs = [*prediction.cells.values(), prediction.scene, prediction.descriptor]
        arrays = [output.cpu().numpy() for output in outputs]
        return as_encoding(arrays, self._bundle, seg is not None)

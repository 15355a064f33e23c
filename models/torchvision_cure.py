"""Make torchvision load beside a CPU build of torch. Import this first, before timm or Lightning.

The package index serves one torchvision wheel, built for CUDA. Beside a CPU build of torch its
native library does not load, its operators are never registered, and the import then fails with
`operator torchvision::nms does not exist`; timm, torchmetrics and pytorch-lightning fail with it.
We need no operator of torchvision, only that it imports: so the two that its Python code refers
to get a schema without an implementation, and the import is tried again. Where torchvision loads
by itself, this module does nothing. Its native image decoders stay unavailable; data/images.py
does not use them.

Every process needs it, spawned loader workers too, and gets it by importing what it works with:
models/backbones.py and both scripts import this module before anything that imports torchvision.
"""

import sys

import torch

_NMS_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # the schemas live as long as this object does


def cure() -> None:
    """Import torchvision, registering the operators it misses where that is what fails.

    Raises:
        RuntimeError: torchvision fails to import for another reason.
    """
    global _library
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(operator + _NMS_SCHEMA)
        import torchvision  # noqa: F401


cure()

"""Semantic segmentation of photos: what each pixel shows, by a network in the hub's format.

SegFormer (Xie et al., 2021, https://arxiv.org/abs/2105.15203), Mask2Former (Cheng et al., 2022,
https://arxiv.org/abs/2112.01527) and their kin, with ADE20K, Cityscapes or any other classes.

    segmenter = Segmenter.load("nvidia/segformer-b0-finetuned-ade-512-512")
    maps = segmenter.maps([photo])  # one uint8 (H, W) a photo
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.seg_maps.classes import SegClasses
from models.devices import pick_device
from models.segmentation.scores import class_map, class_scores, num_photos

Pixels = NDArray[np.uint8]


class Segmenter:
    """A network with the preparation that it was trained with.

    The photo's preparation (size, resampling) is the model's own; only padding and centre crops are
    left out, as a map has to lie on its whole photo. Photos are in one batch only if they are
    prepared to one size: none is padded, so what else is in the batch cannot change a map. On a
    GPU the network computes in bfloat16 (float16 on older ones), on a processor in float32.

    Attributes:
        classes: what the numbers in the maps mean. 255 is never drawn: it marks pixels without a
            class in maps that others drew.
        device: where the network runs.
    """

    def __init__(
        self, model: nn.Module, processor: Any, classes: SegClasses, device: str | torch.device
    ) -> None:
        self.classes = classes
        self.device = torch.device(device)
        self._model: Any = model.eval().to(self.device)
        self._processor = processor
        processor.do_center_crop, processor.pad_size = False, None
        self._scale, self._mean, self._std = _normalisation(processor, self.device)

    @classmethod
    def load(cls, name_or_dir: str, device: str = "auto") -> "Segmenter":
        """Load a model by its name on the hub or from a folder of its files.

        Args:
            name_or_dir: of the model.
            device: cpu, cuda, cuda:1 ..., or auto: the GPU where there is one.

        Raises:
            ValueError: it cannot be had or is not one that we read (see
                `models.segmentation.segmenter_files.read_segmenter`), or there is no such device.
        """
        from models.segmentation.segmenter_files import read_segmenter  # seconds, for transformers

        chosen = pick_device(device)
        return cls(*read_segmenter(name_or_dir), chosen)

    def maps(self, photos: Sequence[Pixels], batch: int = 16) -> list[Pixels]:
        """Draw the maps of photos.

        Args:
            photos: uint8 `(H, W, 3)` each, of any sizes.
            batch: how many go through the network at a time.

        Returns:
            uint8 `(H, W)` each: the number of the class of each pixel.
        """
        prepared = [self.prepare(photo) for photo in photos]
        return self.draw(prepared, [photo.shape[:2] for photo in photos], batch)

    def prepare(self, photo: Pixels) -> Pixels:
        """A photo as the network takes it but for normalisation, uint8 `(3, h, w)`.

        The part that needs no GPU; several threads may do it at a time.
        """
        # Rescaling and normalisation are left to the device, on bytes a quarter as many.
        prepared = self._processor(
            photo, do_rescale=False, do_normalize=False, input_data_format="channels_last"
        )
        return np.ascontiguousarray(prepared["pixel_values"][0])

    def draw(
        self, prepared: Sequence[Pixels], sizes: Sequence[tuple[int, ...]], batch: int = 16
    ) -> list[Pixels]:
        """Draw the maps of prepared photos.

        Args:
            prepared: what `prepare` gave.
            sizes: (H, W) of each photo.
            batch: how many go through the network at a time.

        Returns:
            uint8 `(H, W)` each, in the same order.
        """
        maps: dict[int, Pixels] = {}
        order = sorted(range(len(prepared)), key=lambda i: prepared[i].shape)
        for _, group in groupby(order, key=lambda i: prepared[i].shape):
            rows = list(group)
            for start in range(0, len(rows), batch):
                chosen = rows[start : start + batch]
                drawn = self._draw([prepared[i] for i in chosen], [sizes[i] for i in chosen])
                maps |= dict(zip(chosen, drawn, strict=True))
        return [maps[i] for i in range(len(prepared))]

    @torch.inference_mode()
    def _draw(self, prepared: list[Pixels], sizes: list[tuple[int, ...]]) -> list[Pixels]:
        """Draw the maps of one batch of equal shape."""
        pixels = torch.from_numpy(np.stack(prepared)).to(self.device)
        outputs = self._run((pixels.float() * self._scale - self._mean) / self._std)
        kind = self._model.config.model_type
        maps = [
            class_map(class_scores(outputs, i, kind), size[0], size[1])
            for i, size in zip(range(num_photos(outputs)), sizes, strict=True)
        ]
        return [drawn.cpu().numpy() for drawn in maps]

    def _run(self, images: Tensor) -> Any:
        is_gpu = self.device.type == "cuda"
        half = torch.bfloat16 if not is_gpu or torch.cuda.is_bf16_supported() else torch.float16
        with torch.autocast(self.device.type, half, enabled=is_gpu):
            return self._model(pixel_values=images)


def _normalisation(processor: Any, device: torch.device) -> tuple[float, Tensor, Tensor]:
    """Scale, mean and deviation that turn bytes into what the network was trained with."""
    scale = processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    mean, std = 0.0, 1.0
    if getattr(processor, "do_normalize", True):
        mean, std = processor.image_mean, processor.image_std
    shaped = [torch.as_tensor(values).float().reshape(-1, 1, 1) for values in (mean, std)]
    return scale, shaped[0].to(device), shaped[1].to(device)

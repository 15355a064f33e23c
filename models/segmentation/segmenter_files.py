"""Segmentation networks as the model hub stores them: by name, or a folder of the same files.

transformers (https://huggingface.co/docs/transformers) builds the network from `config.json`, its
weights and `preprocessor_config.json`. Weights are read as data only: safetensors, or torch's
weights-only reader for the older `.bin`; code that comes with a model is never run.
"""

from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (transformers imports torchvision)
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from data.seg_maps.classes import SegClasses
from models.segmentation.palette import palette
from models.weights import fingerprint

MOST_CLASSES = 255  # 255 itself is left to pixels without a class, as the data sets have it
MASK_FAMILIES = ("mask2former", "maskformer")
KINDS = "SegFormer, UperNet, BEiT, DPT, MaskFormer or Mask2Former with a semantic segmentation head"
WAY_OUT = (
    "Download the model where there is a connection (all of its files) and give the folder, or "
    "fill the hub's cache there and copy it here (HF_HOME says where it lies)"
)


def read_segmenter(name_or_dir: str) -> tuple[torch.nn.Module, Any, SegClasses]:
    """Read a network, the processor of its input, and the table of its classes.

    Raises:
        ValueError: no such folder, the hub cannot be reached, files are missing or damaged, it is
            no segmentation network, or it does not say what its classes are.
    """
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # what is wrong, we say ourselves
    _check_folder(name_or_dir)
    config = _read(AutoConfig, name_or_dir)
    family = _family(name_or_dir, config)
    names = class_names(name_or_dir, config)
    processor = _read(AutoImageProcessor, name_or_dir, backend="pil")
    model = _model(name_or_dir, family)
    source = f"{Path(name_or_dir).name} {type(model).__name__} sha256:{fingerprint(model)[:16]}"
    return model.eval(), processor, SegClasses(names, palette(names), source)


def _model(name: str, family: Any) -> torch.nn.Module:
    """The network with its weights, all of them."""
    options = {"dtype": torch.float32, "weights_only": True, "ignore_mismatched_sizes": True}
    model, loading = _read(family, name, output_loading_info=True, **options)
    lacking = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
    if lacking:
        raise ValueError(
            f"{name}: its file of weights lacks {len(lacking)} of the network's, such as "
            f"{min(lacking)}; it was not trained for segmentation, or the file is not this model's"
        )
    return model


def class_names(name: str, config: Any) -> tuple[str, ...]:
    """The names of a network's classes by number.

    Raises:
        ValueError: it has more than 255, or names them not at all or with gaps.
    """
    names = {int(number): str(text) for number, text in (config.id2label or {}).items()}
    if len(names) > MOST_CLASSES:
        raise ValueError(
            f"{name}: {len(names)} classes; a map holds one byte a pixel: {MOST_CLASSES} classes "
            "and 255 for none; take a network with fewer"
        )
    # What transformers makes up where config.json has no id2label.
    if all(text == f"LABEL_{number}" for number, text in names.items()):
        raise ValueError(
            f"{name}: its config.json does not say what its classes are; add "
            '"id2label": {"0": "wall", "1": ...} to it'
        )
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{name}: id2label in its config.json leaves out numbers; name them all")
    return tuple(names[number] for number in range(len(names)))


def _check_folder(name: str) -> None:
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"{path}: no config.json; give a folder with all files of a model")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.exists():
        raise ValueError(
            f"no folder {name}; give one with a model's files, or a name on the model hub, such as "
            "nvidia/segformer-b0-finetuned-ade-512-512"
        )


def _family(name: str, config: Any) -> Any:
    """The class of transformers that reads a network of this configuration."""
    trained_as = (config.architectures or [""])[0]
    if "Segmentation" in trained_as:
        if config.model_type in MASK_FAMILIES:
            return AutoModelForUniversalSegmentation
        if config.model_type in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
            return AutoModelForSemanticSegmentation
    raise ValueError(
        f"{name}: {trained_as or config.model_type} is not a segmentation network that we read; "
        f"take a {KINDS}"
    )


def _read(kind: Any, name: str, **options: Any) -> Any:
    """`kind.from_pretrained`, its errors as ValueError."""
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **options)
    except ImportError as error:
        raise ValueError(f"{name}: a package is missing: {str(error).strip()}") from error
    except Exception as error:  # damaged files make transformers raise nearly anything
        is_here = Path(name).is_dir()
        what = "cannot be read" if is_here else "cannot be had from the model hub or its cache"
        told = (str(error).strip().splitlines() or [""])[0]
        way_out = "download the model again" if is_here else WAY_OUT
        raise ValueError(f"{name}: {what} ({type(error).__name__}: {told}). {way_out}") from error

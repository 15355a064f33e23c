"""Read a model's weights from safetensors, and say what is wrong where they do not fit.

The format (https://huggingface.co/docs/safetensors) holds tensors and their names and nothing that
could run; other formats are not read at all.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


def load_weights(model: nn.Module, path: Path, sha256: str = "") -> None:
    """Put a file's weights into a model: all of them, and no others.

    Args:
        model: built for them.
        path: the safetensors file.
        sha256: what the file's hash has to be, "" = any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, another file than `sha256` says, or for another model.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {path.name}: copy the bundle again")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"the file is damaged ({error}): copy the bundle again") from error
    if problem := misfit(model.state_dict(), weights):
        raise ValueError(f"{problem}: it belongs to another config.json; copy both from one run")
    if sha256 and sha256_of(path) != sha256:
        raise ValueError(
            f"its sha256 is not {sha256[:12]}..., as the config says: the weights of another "
            "training, or an altered file; copy both from one run"
        )
    model.load_state_dict(weights)


def misfit(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """How a file's tensors differ from a model's in names and shapes, in words; "" if they do not.

    Counts, and one example of each kind: networks have hundreds of tensors.
    """
    missing, foreign = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape)
    problems = []
    if missing:
        problems.append(f"it lacks {len(missing)} of the model's tensors, such as {missing[0]}")
    if foreign:
        problems.append(f"{len(foreign)} of its tensors are not the model's, such as {foreign[0]}")
    if other:
        shapes = tuple(found[other[0]].shape), tuple(wanted[other[0]].shape)
        problems.append(
            f"{len(other)} have other shapes, such as {other[0]}, {shapes[0]} in the file and "
            f"{shapes[1]} in the model"
        )
    return "; ".join(problems)


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()

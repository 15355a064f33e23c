"""gallery.json: which model made a gallery, how large it is, and its photos' licences."""

import json
from pathlib import Path
from typing import Any

FORMAT = "groundfix-gallery-1"
MAX_BYTES = 1 << 20


def rebuild_command(directory: Path) -> str:
    """What to type to build this gallery again."""
    return f"python -m retrieval.index --model MODEL --images DIR --csv F --gallery {directory}"


def write_header(
    directory: Path,
    model_sha256: str,
    count: int,
    dim: int,
    licences: dict[str, int],
    accuracy_m: float,
) -> None:
    """Write gallery.json into a gallery directory that is being made.

    Raises:
        ValueError: the accuracy is no positive number of metres.
    """
    check_accuracy(accuracy_m, "accuracy_m")
    header = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "count": count,
        "dim": dim,
        "licences": licences,
        "accuracy_m": accuracy_m,
        "pca": None,
    }
    (directory / "gallery.json").write_text(json.dumps(header, indent=2) + "\n")


def read_header(directory: Path) -> dict[str, Any]:
    """The fields of gallery.json, each checked, so that the rest may rely on them.

    Raises:
        ValueError: it is not there, not JSON, of another format, or a field is not what it should.
    """
    path = directory / "gallery.json"
    if not path.is_file():
        raise ValueError(f"no gallery in {directory}; build one: {rebuild_command(directory)}")
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is not of format {FORMAT}; rebuild: {rebuild_command(directory)}")
    for name in ("dim", "count"):
        if type(header.get(name)) is not int or not 0 < header[name] < 1 << 40:
            raise ValueError(f"{path}: {name} is {header.get(name)!r}, not a positive number")
    check_sha256(header.get("model_sha256"), f"{path}: model_sha256")
    licences = header.get("licences")
    if not isinstance(licences, dict) or not all(type(n) is int for n in licences.values()):
        raise ValueError(f"{path}: licences are not counts by name")
    check_accuracy(header.get("accuracy_m"), f"{path}: accuracy_m")
    if header.get("pca") is not None:
        raise ValueError(f"{path}: this version reads galleries without PCA only")
    return header


def check_sha256(value: object, name: str) -> None:
    """Raise a ValueError about `name` unless the value is a sha256 in lower-case hexadecimal."""
    text = value if isinstance(value, str) else ""
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{name} is {value!r}, not a sha256 in 64 hexadecimal digits")


def check_accuracy(value: object, name: str) -> None:
    """Raise a ValueError about `name` unless the value is a positive, finite number."""
    if type(value) not in (int, float) or not 0 < float(str(value)) < float("inf"):
        raise ValueError(f"{name} is {value!r}, not a positive number of metres")

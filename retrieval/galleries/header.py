"""gallery.json: which model made a gallery, how large it is, and its photos' licences."""

import json
from pathlib import Path
from typing import Any

FORMAT = "groundfix-gallery-1"
MAX_BYTES = 1 << 20
BUNDLE, PLACE = "bundle", "place"  # what made the descriptors: a model bundle or a place model


def rebuild_command(directory: Path, descriptor_model: str = BUNDLE) -> str:
    """What to type to build this gallery again."""
    model = "--place_model" if descriptor_model == PLACE else "--model"
    return f"python -m retrieval.index {model} MODEL --images DIR --csv F --gallery {directory}"


def write_header(
    directory: Path,
    model_sha256: str,
    count: int,
    dim: int,
    licences: dict[str, int],
    accuracy_m: float,
    descriptor_model: str,
) -> None:
    """Write gallery.json into a gallery directory that is being made.

    Raises:
        ValueError: the accuracy is no positive number of metres, or another kind of model.
    """
    check_accuracy(accuracy_m, "accuracy_m")
    check_descriptor_model(descriptor_model, "descriptor_model")
    header = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "descriptor_model": descriptor_model,
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
    header.setdefault("descriptor_model", BUNDLE)  # older galleries were made by bundles alone
    check_descriptor_model(header["descriptor_model"], f"{path}: descriptor_model")
    return header


def check_maker(
    header: dict[str, Any], directory: Path, model_sha256: str, descriptor_model: str
) -> None:
    """Raise a ValueError that names the way out unless this model made the descriptors.

    Args:
        header: of the gallery.
        directory: of the gallery.
        model_sha256: of the model that will make the queries.
        descriptor_model: its kind, `BUNDLE` or `PLACE`.
    """
    made_by, kind = header["model_sha256"][:12], header["descriptor_model"]
    rebuild = f"rebuild it: {rebuild_command(directory, descriptor_model)}"
    if kind == PLACE and descriptor_model == BUNDLE:
        raise ValueError(
            f"gallery {directory} was described by a place model ({made_by}), not by the model "
            f"bundle: name the place model's folder with --place_model, or {rebuild}"
        )
    if kind == BUNDLE and descriptor_model == PLACE:
        raise ValueError(
            f"gallery {directory} was described by a model bundle ({made_by}), not by a place "
            f"model: leave out --place_model, or {rebuild}"
        )
    if header["model_sha256"] != model_sha256:
        name = "place model" if kind == PLACE else "model"
        raise ValueError(
            f"gallery {directory} was built with {name} {made_by}, not with "
            f"{model_sha256[:12]}; {rebuild}"
        )


def check_sha256(value: object, name: str) -> None:
    """Raise a ValueError about `name` unless the value is a sha256 in lower-case hexadecimal."""
    text = value if isinstance(value, str) else ""
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{name} is {value!r}, not a sha256 in 64 hexadecimal digits")


def check_descriptor_model(value: object, name: str) -> None:
    """Raise a ValueError about `name` unless the value is a kind of model that describes photos."""
    if value not in (BUNDLE, PLACE):
        raise ValueError(f"{name} is {value!r}, neither {BUNDLE} nor {PLACE}")


def check_accuracy(value: object, name: str) -> None:
    """Raise a ValueError about `name` unless the value is a positive, finite number."""
    if type(value) not in (int, float) or not 0 < float(str(value)) < float("inf"):
        raise ValueError(f"{name} is {value!r}, not a positive number of metres")

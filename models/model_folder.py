"""What kind of model a folder holds: its config.json, read with errors that name the way out."""

import json
from pathlib import Path
from typing import Any

CONFIG = "config.json"


def read_config(directory: Path, kind: str, name: str, command: str) -> dict[str, Any]:
    """Read the config of a model's folder.

    Args:
        directory: Of the model.
        kind: What "kind" in it must say.
        name: Of such a model with its article, for the errors.
        command: The module that writes such folders.

    Raises:
        ValueError: it is missing, damaged, or of another kind of model.
    """
    path = directory / CONFIG
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(
            f"{directory} holds no {CONFIG}; {name} is what `python -m {command} --out DIR` writes"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(config, dict) or config.get("kind") != kind:
        raise ValueError(f"{directory} holds another kind of model; take one of {command}")
    return config

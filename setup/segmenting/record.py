"""What a folder of segmentation maps was begun with: `segmentation.json` in it.

A stopped run goes on only with the same network and the same photos, so that no folder mixes the
maps of two. In a folder of PNGs it is also where the table of their classes stands; shards carry
theirs in manifest.parquet.
"""

import json
from pathlib import Path
from typing import Any

from data.seg_maps.classes import SegClasses
from data.seg_maps.stored_maps import RECORD
from partitioning.atomic_file import atomic_path


def begin(output: Path, classes: SegClasses, **asked: Any) -> None:
    """Note what a folder of maps is made with, or check that it is the same.

    Args:
        output: the folder, made if it is not there.
        classes: of the network.
        asked: whatever else the maps depend on, as plain types.

    Raises:
        ValueError: the folder was begun with something else.
    """
    now = {"seg_classes": json.loads(classes.to_json())} | asked
    path = output / RECORD
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(now, indent=2, sort_keys=True) + "\n")
        return
    before = _read(path)
    if changed := [name for name in now | before if now.get(name) != before.get(name)]:
        raise ValueError(
            f"{output} was begun with other {', '.join(sorted(changed))} "
            f"({_source(before)}, now {classes.source}); give the same as then to go on with it, "
            "or an empty folder to begin anew"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        if not isinstance(record, dict):
            raise ValueError("not an object")
        return record
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error}); remove {path.parent}") from error


def _source(record: dict[str, Any]) -> str:
    classes = record.get("seg_classes")
    return str(classes.get("source", "")) if isinstance(classes, dict) else "unknown"

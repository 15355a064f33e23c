"""Positions and whatever else a CSV says of photos, row by row, as the JSON of their samples.

Column names are those of the field's tables and their synonyms, in any case
(`partitioning/positions_csv.py`, `data/tables.py`). The reader of whole tables is
`data.tables.read_photo_table`; this one takes no more memory for a hundred million rows.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data.sample import NUM_SCENES, position_of
from data.tables import OTHER_SYNONYMS
from partitioning.positions_csv import MISSING, column_names
from setup.downloading.url_list import read_csv_rows
from setup.packing.sample_metadata import READERS, SCENE_COLUMNS, metadata


def read_metadata(
    path: Path, unreadable: Counter[str] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Read what a CSV says of each photo.

    Args:
        path: CSV with a header that names id, lat and lon.
        unreadable: counts, by column, the values that could not be read and are left out.

    Yields:
        (id, JSON, problem): one of the last two is "".

    Raises:
        ValueError: empty, no CSV in UTF-8, or a column is missing; says what was found.
    """
    unreadable = Counter() if unreadable is None else unreadable
    rows = read_csv_rows(path)
    header = next(rows, None)
    if header is None:
        raise ValueError(f"{path}: the file is empty; it needs a header and rows")
    names = _our_names(path, header)
    for row in rows:
        fields = {names[at]: text for at, text in enumerate(row) if at in names}
        image_id = fields.get("id", "")
        if len(row) != len(header):
            yield image_id, "", f"a row of {len(row)} fields under {len(header)} names"
            continue
        known = {name: text for name, text in fields.items() if text not in MISSING}
        try:
            position_of(known)
        except ValueError as error:
            yield image_id, "", str(error)
            continue
        facts = metadata(_with_scene(known), unreadable)
        yield image_id, json.dumps(facts, sort_keys=True, ensure_ascii=False), ""


def _our_names(path: Path, header: list[str]) -> dict[int, str]:
    """Column number -> our name, for the columns that we read; the first of several counts."""
    required = column_names(path, header)
    names = {at: required[name] for at, name in enumerate(header) if name in required}
    for ours in (*READERS, *SCENE_COLUMNS):
        synonyms = OTHER_SYNONYMS.get(ours, (ours,))
        found = [at for at, name in enumerate(header) if name.lower() in synonyms]
        if found:
            names[found[0]] = ours
    return names


def _with_scene(row: dict) -> dict:
    """Bring three columns of scene probabilities into s3, in place of a label there."""
    scene = [row[name] for name in SCENE_COLUMNS if name in row]
    return row | {"s3": f"[{','.join(scene)}]"} if len(scene) == NUM_SCENES else row

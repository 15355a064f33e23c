"""The table of photos: ids that can be keys, positions, and whatever else a CSV says of them.

Reading, synonyms and positions are partitioning/positions_csv.py's; added here are what packing
and training need: ids that can name a tar member, the other columns under one name each, and a
list of the refused rows that can be written out. Column meanings: the metadata CSVs of MP-16 and
Im2GPS3k (IMG_ID, LAT, LON, S3_Label, ...).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data.sample import MAX_KEY_BYTES, key_problem, safe_key
from partitioning.atomic_file import atomic_path
from partitioning.positions_csv import read_positions

OTHER_SYNONYMS: dict[str, tuple[str, ...]] = {
    "url": ("url", "image_url", "img_url", "source_url"),
    "author": ("author", "author_id", "user", "user_id", "photographer"),
    "licence": ("licence", "license"),
    "captured_at": ("captured_at", "date_taken", "datetaken"),
    "s3": ("s3", "s3_label"),
    "s16": ("s16", "s16_label"),
    "s365": ("s365", "s365_label"),
}

# What `safe_key` and `key_problem` let pass, so that Python need not look at each of five million.
_PLAIN_ID = r"[A-Za-z0-9@,=+~_./%-]+"
_PLAIN_KEY = rf"[A-Za-z0-9@,=+~_%-]{{1,{MAX_KEY_BYTES}}}"


@dataclass(frozen=True)
class PhotoTable:
    """The usable and the refused rows of a table of photos.

    Attributes:
        photos: id (str, unique, usable as a key), lat, lon (float64 degrees), other columns.
        refused: row (1 is the first under the header), id, reason.
    """

    photos: pd.DataFrame
    refused: pd.DataFrame

    def __len__(self) -> int:
        return len(self.photos)

    def refusals(self) -> dict[str, int]:
        """How many rows were refused for each reason."""
        return {str(reason): int(n) for reason, n in self.refused["reason"].value_counts().items()}

    def write_refused(self, path: str | Path) -> None:
        """Write the refused rows as CSV, atomically."""
        with atomic_path(Path(path)) as temporary:
            self.refused.to_csv(temporary, index=False)


def read_photo_table(
    path: str | Path,
    require: tuple[str, ...] = ("id", "lat", "lon"),
    make_safe_keys: bool = False,
) -> PhotoTable:
    """Read a CSV of photos.

    Args:
        path: CSV with columns for id, lat and lon under any of their synonyms, in any case.
        require: Columns that must be there, by our names; id, lat and lon always must.
        make_safe_keys: Map ids with `data.sample.safe_key` instead of refusing those with dots or
            slashes; the id as it was stands in the column image_id then.

    Raises:
        ValueError: not a CSV, empty, or a column is missing; says what was found and accepted.
    """
    photos, refused = read_positions(path)
    photos = _with_our_names(photos)
    for name in require:
        if name not in photos.columns:
            accepted = ", ".join(OTHER_SYNONYMS.get(name, (name,)))
            found = ", ".join(photos.columns)
            raise ValueError(
                f"{path}: no column for {name}; found {found}; accepted (in any case) {accepted}"
            )
    if make_safe_keys:
        photos["image_id"] = photos["id"]
        photos["id"] = _safe_keys(photos["id"])
    problems = _key_problems(photos["id"])
    if (problems == "").all():
        return PhotoTable(photos, refused)
    return PhotoTable(
        photos[problems == ""].reset_index(drop=True), _refuse(refused, photos, problems)
    )


def _safe_keys(ids: pd.Series) -> pd.Series:
    """`safe_key` of each id; those of the letters that ids are made of are done all at once."""
    text = pa.chunked_array(pa.array(ids, pa.large_string(), from_pandas=True))
    # The percent sign comes first: the others' codes have one.
    for letter in "%./":
        text = pc.replace_substring(text, letter, f"%{ord(letter):02X}")
    keys = text.to_pandas()
    for row in np.flatnonzero(~ids.str.fullmatch(_PLAIN_ID).to_numpy(bool)):
        keys.iloc[row] = safe_key(ids.iloc[row])
    return keys


def _key_problems(keys: pd.Series) -> pd.Series:
    """`key_problem` of each key; asked for those alone that are not plainly good."""
    is_good = keys.str.fullmatch(_PLAIN_KEY).to_numpy(bool)
    problems = pd.Series(np.full(len(keys), "", object), keys.index)
    problems[~is_good] = keys[~is_good].map(key_problem)
    return problems


def _with_our_names(photos: pd.DataFrame) -> pd.DataFrame:
    """Rename each other column that has a synonym; the first of several keeps the name."""
    names: dict[str, str] = {}
    for name, synonyms in OTHER_SYNONYMS.items():
        matches = [column for column in photos.columns if column.strip().lower() in synonyms]
        if matches and name not in photos.columns:
            names[matches[0]] = name
    return photos.rename(columns=names)


def _refuse(refused: pd.DataFrame, photos: pd.DataFrame, problems: pd.Series) -> pd.DataFrame:
    """Add the rows whose id cannot be a key to those refused, in the order of the file."""
    bad = problems[problems != ""]
    if bad.empty:
        return refused
    # The file's rows are those refused so far and, in order, those that are not.
    rows = np.delete(np.arange(len(refused) + len(photos)), refused["row"] - 1) + 1
    unkeyed = pd.DataFrame(
        {
            "row": rows[bad.index],
            "id": photos["id"].iloc[bad.index].to_numpy(),
            "reason": bad.to_numpy(),
        }
    )
    return pd.concat([refused, unkeyed]).sort_values("row", ignore_index=True)

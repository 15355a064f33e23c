"""Photo positions from a CSV: good rows in one table, refused rows with their reason in another.

The column names are those of the field's metadata files (`IMG_ID, LAT, LON`) and their synonyms,
in any case. All other columns are kept as they are.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from partitioning.geodesy import position_problems

COLUMN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": ("img_id", "image_id", "id"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "longitude"),
}

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def column_names(path: Path, found: list[str]) -> dict[str, str]:
    """Map the columns `found` in `path` that mean id, lat or lon to those names.

    Raises:
        ValueError: one of the three is missing or there twice; lists what was found and accepted.
    """
    names: dict[str, str] = {}
    for name, synonyms in COLUMN_SYNONYMS.items():
        matches = [column for column in found if column.strip().lower() in synonyms]
        if not matches:
            raise ValueError(
                f"{path}: no column for {name}; found {', '.join(found)}; "
                f"accepted (in any case) {', '.join(synonyms)}"
            )
        if len(matches) > 1:
            raise ValueError(f"{path}: {' and '.join(matches)} both mean {name}; keep one of them")
        names[matches[0]] = name
    return names


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV whose id column stays text, with lat and lon parsed exactly.

    Raises:
        ValueError: the file is empty, is no CSV in UTF-8, lacks a column or has no rows.
    """
    # utf-8-sig: spreadsheet programs put a byte order mark before the first column's name.
    try:
        found = list(pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns)
        names = column_names(path, found)
        id_column = next(column for column, name in names.items() if name == "id")
        frame = pd.read_csv(
            path,
            encoding="utf-8-sig",
            # An id is text as it stands: "007" keeps its zeros and "NA" is no missing value.
            dtype={id_column: str},
            keep_default_na=False,
            na_values={column: MISSING for column in found if column != id_column},
            low_memory=False,
        )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; it needs a header and rows") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"{path}: the rows have more fields than the header names")
    if frame.empty:
        raise ValueError(f"{path}: a header but no rows")
    frame[id_column] = frame[id_column].str.strip()
    return frame.rename(columns=names)


def row_problems(frame: pd.DataFrame, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Why each row cannot be used: an array of str (N,), "" where it can."""
    problems = position_problems(lat, lon).astype(object)
    for column, values in (("lat", lat), ("lon", lon)):
        is_text = np.isnan(values) & frame[column].notna().to_numpy()
        problems[is_text] = f"{column} is not a number"
    problems[(frame["id"] == "").to_numpy()] = "missing id"
    # The first row of an id that could be used keeps it: a bad row before it must not cost both.
    good = np.flatnonzero(problems == "")
    problems[good[frame["id"].iloc[good].duplicated().to_numpy()]] = "duplicate id"
    return problems


def numbers(column: pd.Series) -> np.ndarray:
    """Turn a column into float64 (N,), NaN where it holds no number."""
    if column.dtype.kind in "fiu":
        return column.to_numpy(np.float64)
    return column.map(_number).to_numpy(np.float64)


def _number(text: object) -> float:
    # One unreadable value makes pandas keep the whole column as text.
    try:
        return float(str(text))
    except ValueError:
        return np.nan


def read_positions(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read ids and positions, and whatever else the CSV holds.

    Returns:
        The usable rows: id (str, unique), lat, lon (float64 degrees, valid), then the other
        columns; and the refused rows: row (1 is the first under the header), id, reason
        ("missing", "lat is not a number", "swapped?", "out of range", "missing id",
        "duplicate id").

    Raises:
        ValueError: the file is empty, has no rows, is no CSV, or lacks a column.
    """
    frame = read_csv(Path(path))
    lat, lon = numbers(frame["lat"]), numbers(frame["lon"])
    problems = row_problems(frame, lat, lon)
    bad = problems != ""
    refused = pd.DataFrame(
        {
            "row": np.flatnonzero(bad) + 1,
            "id": frame["id"].to_numpy()[bad],
            "reason": problems[bad].astype(str),
        }
    )
    others = [column for column in frame.columns if column not in COLUMN_SYNONYMS]
    table = frame.assign(lat=lat, lon=lon)[["id", "lat", "lon", *others]]
    return table[~bad].reset_index(drop=True), refused

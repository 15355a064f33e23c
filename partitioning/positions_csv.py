"""Photo positions from a CSV: good rows in one table, refused rows with their reason in another.

The column names are those of the field's metadata files (`IMG_ID, LAT, LON`) and their synonyms,
in any case. All other columns are kept: whole numbers, numbers or text, whichever holds all of a
column; what names something (`TEXTS`) stays text, or author 00123 and 123 would be one.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from partitioning.csv_columns import Malformed, read_columns, read_names
from partitioning.geodesy import position_problems

COLUMN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": ("img_id", "image_id", "id"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "longitude"),
}

TEXTS = (
    "author", "author_id", "creator", "creator_id", "creator_username", "licence", "license", "url",
    "source_url", "path", "captured_at", "sequence", "sequence_id",
)  # fmt: skip
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
SWAPPED = "swapped?"
# Of real tables next to no row is swapped; of one whose columns are, a quarter tells by itself.
SWAPPED_SHARE, SWAPPED_ROWS = 0.1, 10
_WHOLE = r"^\s*(\d+)\.0$"
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"


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
                f"accepted (in any case) {', '.join(synonyms)}{_url_list(found)}"
            )
        if len(matches) > 1:
            raise ValueError(f"{path}: {' and '.join(matches)} both mean {name}; keep one of them")
        names[matches[0]] = name
    return names


def _url_list(found: list[str]) -> str:
    """What to say of a table that seems to be a list of URLs, with its header or without."""
    is_list = any("://" in name or name.strip().lower() == "url" for name in found)
    return ". A list of URLs has no positions; give the table that belongs to it" * is_list


def read_positions(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read ids and positions, and whatever else the CSV holds.

    Returns:
        The usable rows: id (str, unique), lat, lon (float64 degrees, valid), then the other
        columns; and the refused rows: row (1 is the first under the header), id, reason
        ("missing", "lat is not a number", "swapped?", "out of range", "missing id",
        "duplicate id", "short row", "long row").

    Raises:
        ValueError: the file is empty, has no rows, is no CSV, lacks a column, or its latitudes
            and longitudes stand in each other's place.
    """
    path = Path(path)
    names = column_names(path, read_names(path))
    columns, malformed = read_columns(path)
    columns = columns.rename_columns([names.get(name, name) for name in columns.column_names])
    id_at = columns.column_names.index("id")
    ids = pc.utf8_trim_whitespace(columns["id"])
    lat, lon = numbers(columns["lat"]), numbers(columns["lon"])
    problems = _row_problems(columns, ids, lat, lon)
    _check_order(path, problems)
    bad = problems != ""
    rows = np.delete(np.arange(len(bad) + len(malformed)), [m.row - 1 for m in malformed])[bad] + 1
    refused = _refused(rows, ids.filter(pa.array(bad)).to_pylist(), problems[bad])
    refused = _with_malformed(refused, malformed, id_at)
    others = {name: columns[name] for name in columns.column_names if name not in COLUMN_SYNONYMS}
    del columns  # so that the text of each column can go as soon as its values are there
    table = _frame(ids, lat, lon, others)
    return (table[~bad].reset_index(drop=True) if bad.any() else table), refused


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Turn text into float64 (N,), to the last bit; NaN where it is no number."""
    text = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(text, _NUMBER)
    values = pc.cast(pc.if_else(is_number, text, pa.scalar(None, pa.string())), pa.float64())
    return values.to_numpy()


def _row_problems(
    columns: pa.Table, ids: pa.ChunkedArray, lat: np.ndarray, lon: np.ndarray
) -> np.ndarray:
    """Why each row cannot be used: an array of str (N,), "" where it can."""
    problems = np.full(len(lat), "", object)
    wrong = np.flatnonzero(~((np.abs(lat) <= 90) & (np.abs(lon) <= 180)))  # texts for these alone
    problems[wrong] = position_problems(lat[wrong], lon[wrong])
    for name, values in (("lat", lat), ("lon", lon)):
        text = pc.utf8_trim_whitespace(columns[name].take(wrong))
        is_text = ~pc.is_in(text, pa.array(MISSING)).to_numpy() & np.isnan(values[wrong])
        problems[wrong[is_text]] = f"{name} is not a number"
    problems[pc.equal(ids, "").to_numpy()] = "missing id"
    # The first row of an id that could be used keeps it: a bad row before it must not cost both.
    good = np.flatnonzero(problems == "")
    problems[good[_is_repeated(ids, good)]] = "duplicate id"
    return problems


def _is_repeated(ids: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    """Which of `rows` has the id of an earlier one; bool `(len(rows),)`.

    Only ids with equal hashes are compared: a set of five million texts takes 0.8 GB, their hashes
    40 MB.
    """
    hashes = np.concatenate(
        [np.zeros(0, np.uint64)]
        + [
            hash_array(chunk.to_numpy(zero_copy_only=False), categorize=False)
            for chunk in ids.chunks
        ]
    )[rows]
    ordered = np.sort(hashes)
    doubled = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    suspects = np.flatnonzero(np.isin(hashes, doubled))
    is_repeated = np.zeros(len(rows), bool)
    texts = ids.take(rows[suspects]).to_pandas()
    is_repeated[suspects] = texts.duplicated().to_numpy()
    return is_repeated


def _check_order(path: Path, problems: np.ndarray) -> None:
    """Refuse a table whose columns are named the wrong way round.

    Most of its rows look right, far from where they are: an early im2gps3k_places365.csv was so.
    """
    swapped = int(np.sum(problems == SWAPPED))
    if swapped >= SWAPPED_ROWS and swapped > SWAPPED_SHARE * len(problems):
        raise ValueError(
            f"{path}: latitude and longitude seem to stand in each other's column: {swapped:,} of "
            f"{len(problems):,} rows hold a latitude beyond 90 that would do as a longitude; "
            "swap the two names in the header"
        )


def _refused(rows: np.ndarray, ids: list[str], reasons: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"row": rows, "id": ids, "reason": reasons.astype(str)})


def _with_malformed(refused: pd.DataFrame, malformed: list[Malformed], id_at: int) -> pd.DataFrame:
    if not malformed:
        return refused
    rows = np.array([row.row for row in malformed])
    reasons = np.array([row.reason for row in malformed])
    ids = [row.field(id_at) for row in malformed]
    both = pd.concat([refused, _refused(rows, ids, reasons)])
    return both.sort_values("row", ignore_index=True)


def _frame(
    ids: pa.ChunkedArray, lat: np.ndarray, lon: np.ndarray, others: dict[str, pa.ChunkedArray]
) -> pd.DataFrame:
    """The table; takes the other columns out of `others` one by one."""
    columns: dict[str, object] = {"id": ids.to_pandas(), "lat": lat, "lon": lon}
    for name in list(others):
        columns[name] = _typed(name, others.pop(name)).to_pandas()
    return pd.DataFrame(columns, copy=False)


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers, numbers or text, whichever holds all of a column; gaps are null."""
    gap = pa.scalar(None, pa.string())
    column = pc.if_else(pc.is_in(column, pa.array(MISSING)), gap, column)
    if name.strip().lower() in TEXTS:
        # A table with gaps that pandas wrote says 7.0 of author 7.
        return pc.replace_substring_regex(column, _WHOLE, r"\1")
    try:
        whole = pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        try:
            return pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            return column
    return column if _is_rounded(whole) else whole


def _is_rounded(whole: pa.ChunkedArray) -> bool:
    """Whether whole numbers with gaps, which pandas makes floats of, are too large for those."""
    ends = filter(None, pc.min_max(whole).as_py().values())
    return whole.null_count > 0 and max(map(abs, ends), default=0) > 2**53

"""predictions.csv: one row for each photo and way of decoding, in the field's columns.

img_id, p_key, pred_class, pred_lat, pred_lng are those that GeoEstimation's inference writes
(https://github.com/TIBHannover/GeoEstimation, classification/inference.py), p_key being coarse,
middle, fine or hierarchy; after them stand true_lat, true_lng, error_km and probability. A file
with the first five columns only, from whatever program, can be compared too: `truth` fills in.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models.evaluation.accuracy import HIERARCHICAL, PRIOR
from models.evaluation.evaluate import Evaluation
from partitioning.atomic_file import atomic_path
from partitioning.geodesy import haversine_km, position_problems

FIELD_COLUMNS = ("img_id", "p_key", "pred_class", "pred_lat", "pred_lng")
TRUTH_COLUMNS = ("true_lat", "true_lng")
HIERARCHY = "hierarchy"  # p_key of the row that our tables call hierarchical


def frame_of(evaluation: Evaluation) -> pd.DataFrame:
    """The rows of predictions.csv; the prior, which looks at no photo, has none."""
    parts = [
        pd.DataFrame(
            {
                "img_id": evaluation.keys,
                "p_key": HIERARCHY if name == HIERARCHICAL else name,
                "pred_class": answers.classes,
                "pred_lat": answers.lat,
                "pred_lng": answers.lon,
                "true_lat": evaluation.lat,
                "true_lng": evaluation.lon,
                "error_km": answers.errors_km,
                "probability": answers.probability,
            }
        )
        for name, answers in evaluation.answers.items()
        if name != PRIOR
    ]
    return pd.concat(parts, ignore_index=True)


def write_predictions(directory: Path, frame: pd.DataFrame) -> None:
    """Write predictions.csv and predictions.json (a list of the same rows)."""
    with atomic_path(directory / "predictions.csv") as temporary:
        frame.to_csv(temporary, index=False)
    with atomic_path(directory / "predictions.json") as temporary:
        frame.to_json(temporary, orient="records", double_precision=15)


def read_predictions(path: Path, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """Read predictions with img_id, p_key, true_lat, true_lng and error_km, errors counted anew.

    Args:
        path: a predictions.csv, or a folder that holds one.
        truth: image_id, lat, lon of the photos, for a file without true positions; where both
            are there, they must agree.

    Raises:
        ValueError: not such a file, a position is none, a photo is there twice, or truth is
            lacking or differs.
    """
    path = path / "predictions.csv" if path.is_dir() else path
    try:
        frame = pd.read_csv(path, dtype={"img_id": str, "p_key": str}, keep_default_na=False)
    except FileNotFoundError:
        raise ValueError(f"no {path}: write it with test_vit.py --model DIR ...") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV in UTF-8: {error}") from None
    if lacking := [name for name in FIELD_COLUMNS if name not in frame.columns]:
        raise ValueError(
            f"{path} has no column {', '.join(lacking)}; found {', '.join(frame.columns)}"
        )
    if frame.empty:
        raise ValueError(f"{path}: a header but no rows")
    twice = frame.duplicated(["img_id", "p_key"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise ValueError(f"{path}: {row.img_id} is there twice as {row.p_key}")
    frame = _with_truth(path, frame, truth)
    columns = ["pred_lat", "pred_lng", *TRUTH_COLUMNS]
    lat, lon, true_lat, true_lon = (_numbers(path, frame, name) for name in columns)
    for first, second, names in ((lat, lon, columns[:2]), (true_lat, true_lon, columns[2:])):
        bad = np.flatnonzero(position_problems(first, second) != "")
        if bad.size:
            raise ValueError(f"{path} row {bad[0] + 1}: {' and '.join(names)} are no position")
    return frame.assign(error_km=haversine_km(lat, lon, true_lat, true_lon))


def _numbers(path: Path, frame: pd.DataFrame, name: str) -> np.ndarray:
    numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
    if np.isnan(numbers).any():
        row = int(np.isnan(numbers).argmax())
        raise ValueError(f"{path} row {row + 1}: {name} {frame[name].iloc[row]!r} is no number")
    return numbers


def _with_truth(path: Path, frame: pd.DataFrame, truth: pd.DataFrame | None) -> pd.DataFrame:
    has_truth = all(name in frame.columns for name in TRUTH_COLUMNS)
    if truth is None:
        if not has_truth:
            raise ValueError(f"{path} has no {' and '.join(TRUTH_COLUMNS)}: give --csv too")
        return frame
    places = truth.set_index("image_id")[["lat", "lon"]].reindex(frame["img_id"])
    if places["lat"].isna().any():
        lost = frame["img_id"][places["lat"].isna().to_numpy()].iloc[0]
        raise ValueError(f"{path}: the table of true positions has no photo {lost}")
    if has_truth:
        lat, lon = (_numbers(path, frame, name) for name in TRUTH_COLUMNS)
        apart_km = haversine_km(lat, lon, places["lat"].to_numpy(), places["lon"].to_numpy())
        if apart_km.max() > 0.01:
            lost = frame["img_id"].iloc[int(apart_km.argmax())]
            raise ValueError(
                f"{path}: its true position of {lost} is {apart_km.max():.3g} km from that of the "
                "table: they are two versions of a benchmark"
            )
    return frame.assign(true_lat=places["lat"].to_numpy(), true_lng=places["lon"].to_numpy())

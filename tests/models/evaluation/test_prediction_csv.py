"""predictions.csv: the field's columns, written and read, errors counted anew."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from models.evaluation.accuracy import Answers
from models.evaluation.evaluate import Evaluation
from models.evaluation.prediction_csv import (
    FIELD_COLUMNS,
    frame_of,
    read_predictions,
    write_predictions,
)

KM_A_DEGREE = math.pi * 6371.0088 / 180


@pytest.fixture
def evaluation():
    def row(lat, classes):
        lat = np.array(lat)
        return Answers(lat, np.zeros(2), KM_A_DEGREE * lat, np.array(classes), np.full(2, 0.5))

    rows = {"fine": row([1.0, 2.0], [4, 5]), "hierarchical": row([3.0, 0.0], [6, 7])}
    rows["prior"] = row([9.0, 9.0], [0, 0])
    empty = np.empty((0, 9), np.float32)
    return Evaluation(["007", "7f/a.jpg"], np.zeros(2), np.zeros(2), rows, np.ones(2), [], empty)


def test_the_fields_columns_come_first(evaluation):
    frame = frame_of(evaluation)
    assert tuple(frame.columns[:5]) == FIELD_COLUMNS
    assert frame["p_key"].tolist() == ["fine", "fine", "hierarchy", "hierarchy"]
    assert frame["pred_class"].tolist() == [4, 5, 6, 7]
    assert frame["img_id"].tolist() == ["007", "7f/a.jpg"] * 2


def test_what_is_written_is_read(evaluation, tmp_path):
    write_predictions(tmp_path, frame_of(evaluation))
    for path in (tmp_path, tmp_path / "predictions.csv"):
        found = read_predictions(path)
        assert found["img_id"].tolist() == ["007", "7f/a.jpg"] * 2
        expected = [KM_A_DEGREE * degrees for degrees in (1, 2, 3, 0)]
        np.testing.assert_allclose(found["error_km"], expected, rtol=1e-9)
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [row["pred_lat"] for row in rows] == [1, 2, 3, 0]


def test_another_programs_file_with_a_table_of_truth(evaluation, tmp_path):
    frame_of(evaluation)[list(FIELD_COLUMNS)].to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="no true_lat and true_lng: give --csv"):
        read_predictions(tmp_path / "b.csv")
    truth = pd.DataFrame({"image_id": ["7f/a.jpg", "007"], "lat": [0.0, 1.0], "lon": [0.0, 0.0]})
    found = read_predictions(tmp_path / "b.csv", truth)
    expected = [KM_A_DEGREE * degrees for degrees in (0, 2, 2, 0)]
    np.testing.assert_allclose(found["error_km"], expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="has no photo 007"):
        read_predictions(tmp_path / "b.csv", truth[:1])
    write_predictions(tmp_path, frame_of(evaluation))
    with pytest.raises(ValueError, match=r"true position of 007 is 111 km .* two versions"):
        read_predictions(tmp_path, truth)


BAD = {
    "": "not a CSV",
    "img_id,p_key,pred_class,pred_lat,pred_lng,true_lat,true_lng\n": "a header but no rows",
    "img_id,lat\n1,2\n": "no column p_key, pred_class, pred_lat, pred_lng; found img_id, lat",
    "img_id,p_key,pred_class,pred_lat,pred_lng,true_lat,true_lng\na,f,1,x,2,3,4\n": "'x' is no num",
    "img_id,p_key,pred_class,pred_lat,pred_lng,true_lat,true_lng\na,f,1,95,2,3,4\n": "no position",
    "img_id,p_key,pred_class,pred_lat,pred_lng,true_lat,true_lng\n"
    "a,f,1,1,2,3,4\na,f,1,1,2,3,4\n": "a is there twice as f",
}


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_bad_files(text, message, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_predictions(tmp_path / "p.csv")
    assert str(tmp_path / "p.csv") in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"no .*predictions\.csv: write it with test_vit"):
        read_predictions(tmp_path)

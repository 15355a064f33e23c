"""Two predictions files on the same photos."""

import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from models.evaluation.comparison import compare_predictions, print_comparison, write_comparison


def predictions(errors_km, key="hierarchy", start=0, lat=10.0):
    n = len(errors_km)
    ids = [f"p{i}" for i in range(start, start + n)]
    columns = {"img_id": ids, "p_key": key, "true_lat": lat, "true_lng": 20.0}
    return pd.DataFrame({**columns, "error_km": np.array(errors_km, float)})


def test_photos_are_paired_by_id_not_by_row():
    a = predictions([0.5, 100, 100, 3000])
    b = predictions([0.5, 0.5, 100, 0.5]).sample(frac=1, random_state=1)
    found = compare_predictions(a, b, ("A", "B"))
    one_km = found["rows"]["hierarchy"]["within_km"]["1"]
    assert (one_km["only_a"], one_km["only_b"], one_km["p"]) == (0, 2, 0.5)
    assert (one_km["percent_a"], one_km["percent_b"], one_km["difference"]) == (25, 75, 50)
    assert found["photos"] == 4
    assert found["rows"]["hierarchy"]["median_km"] == [100, 0.5]


def test_what_only_one_holds_is_left_out_and_said(capsys):
    a, b = predictions([1, 2, 3, 4]), predictions([1, 2, 9], start=2)
    b = pd.concat([b, predictions([1], "coarse")])
    found = compare_predictions(a, b, ("A", "B"))
    assert (found["photos"], found["only_in"], list(found["rows"])) == (2, [2, 1], ["hierarchy"])
    print_comparison(found, Console(width=120))
    printed = capsys.readouterr().out
    assert "2 photos are only in A and 1 only in B" in " ".join(printed.split())
    assert "McNemar" in printed


def test_what_cannot_be_compared():
    a = predictions([1, 2])
    for b, message in (
        (predictions([1, 2], "fine"), "no p_key in common"),
        (predictions([1, 2], start=9), "no photo in common"),
        (predictions([1, 2], lat=10.5), "55.6 km apart"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_predictions(a, b, ("A", "B"))


def test_it_is_written_whole(tmp_path):
    found = compare_predictions(predictions([1, 2]), predictions([2, 1]), ("A", "B"))
    write_comparison(tmp_path / "new" / "comparison.json", found)
    assert json.loads((tmp_path / "new" / "comparison.json").read_text()) == found

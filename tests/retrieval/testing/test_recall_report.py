"""Recalls, their tables and panels: against counts made by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.places import Photos
from retrieval.evaluate import wilson_interval
from retrieval.nearest import Nearest
from retrieval.testing.prediction_files import Searched, write_panels, write_predictions
from retrieval.testing.prediction_panel import RIGHT, UNKNOWN, WRONG, Answer, write_panel
from retrieval.testing.recall_report import averaged_hits, measure, write_report

# Five queries: right at once, third, never, without positive, at once.
ROWS = np.array([[4, 1, 2], [9, 8, 3], [1, 2, 5], [0, 1, 2], [7, -1, -1]])
POSITIVES = [np.array(p, np.int64) for p in ([4], [3, 30], [6], [], [7])]


def queries(notes):
    names = [f"@1@2@32@T@@@@@@@@@@{note}@.jpg" for note in notes]
    return Photos([Path(n) for n in names], np.zeros((len(names), 2)), np.zeros(len(names)))


def test_counts_by_hand():
    recalls = measure(ROWS, POSITIVES, (1, 2, 3))
    assert {k: (s.hits, s.n) for k, s in recalls.of_all.items()} == {
        1: (2, 4),
        2: (2, 4),
        3: (3, 4),
    }
    assert (recalls.without_positive, recalls.queries) == (1, 5)
    assert recalls.counted_as_missed(3) == pytest.approx(60)
    assert (recalls.of_all[1].low, recalls.of_all[1].high) == wilson_interval(2, 4)


def test_conditions_are_counted_apart():
    recalls = measure(ROWS, POSITIVES, (1,), queries(["day", "night", "night", "day", "day"]))
    counts = {name: (s[1].hits, s[1].n) for name, s in recalls.by_condition.items()}
    assert counts == {"day": (2, 2), "night": (0, 2)}
    assert not measure(ROWS, POSITIVES, (1,), queries(["day"] * 5)).by_condition


def test_a_synthetic_night_is_called_so_even_alone():
    notes = ["night_synthetic", "night", "night_synthetic_wet", "day", "night"]
    found = measure(ROWS, POSITIVES, (1,), queries(notes)).by_condition
    assert {name: s[1].n for name, s in found.items()} == {"SYNTHETIC night": 2, "night": 2}
    assert list(measure(ROWS, POSITIVES, (1,), queries(notes[:1] * 5)).by_condition) == [
        "SYNTHETIC night"
    ]


def test_without_any_positive_there_is_no_recall():
    with pytest.raises(ValueError, match="no query has a positive"):
        measure(ROWS[:1], [np.empty(0, np.int64)], (1,))


def test_the_report_is_written_three_ways(tmp_path):
    recalls = measure(ROWS, POSITIVES, (1, 3), queries(["day", "night", "night", "day", "day"]))
    write_report(tmp_path, recalls, {"model": "abc"})
    held = json.loads((tmp_path / "recalls.json").read_text())
    assert held["recalls"]["R@3"]["percent"] == 75
    assert held["queries_without_positive"] == 1
    assert held["by_condition"]["night"]["R@3"]["hits"] == 1
    rows = list(csv.DictReader((tmp_path / "recalls.csv").open()))
    assert [(r["queries"], r["k"], r["hits"], r["n"]) for r in rows][:2] == [
        ("all", "1", "2", "4"),
        ("all", "3", "3", "4"),
    ]
    text = (tmp_path / "recalls.md").read_text()
    assert "| all | 4 | 50.0 [15.0, 85.0] | 75.0 [30.1, 95.4] |" in text
    assert "1 of 5 queries have no positive" in text
    assert "R@1 40.0" in text


def test_the_average_is_the_mean_of_the_four_recalls(tmp_path):
    """T8's R_avg, from the recalls themselves, with an interval over the queries."""
    random = np.random.default_rng(0)
    rows = np.stack([random.permutation(100)[:100] for _ in range(60)])
    rights = [random.integers(0, 100, 3) for _ in range(60)]
    notes = ["day"] * 40 + ["night"] * 20
    recalls = measure(rows, rights, (1, 5, 10, 20, 50, 100), queries(notes))
    for name, shares in [("all", recalls.of_all), *recalls.by_condition.items()]:
        average = recalls.averages[name]
        assert average.share == pytest.approx(np.mean([shares[k].share for k in (1, 5, 10, 20)]))
        assert average.low < average.share < average.high
    by_query = []
    for ranked, right in zip(rows, rights, strict=True):
        hits = [any(row in right for row in ranked[:k]) for k in (1, 5, 10, 20)]
        by_query.append(sum(hits) / 4)
    error = np.std(by_query) / np.sqrt(60)
    assert recalls.averages["all"].high - recalls.averages["all"].low == pytest.approx(
        2 * 1.96 * error, rel=0.1
    )
    write_report(tmp_path, recalls, {})
    assert "| R@50 | R@100 | R_avg |" in (tmp_path / "recalls.md").read_text()
    held = json.loads((tmp_path / "recalls.json").read_text())["R_avg"]
    assert held["night"]["percent"] == pytest.approx(100 * recalls.averages["night"].share)
    lines = [r for r in csv.DictReader((tmp_path / "recalls.csv").open()) if r["k"] == "avg"]
    assert [line["queries"] for line in lines] == ["all", "day", "night"]
    assert float(lines[0]["percent"]) == pytest.approx(held["all"]["percent"], abs=1e-3)


@pytest.mark.parametrize("depths", [(1, 5, 20, 50, 100), (100,), (5, 20)])
def test_the_average_needs_depth_and_not_each_of_its_recalls(tmp_path, depths):
    random = np.random.default_rng(1)
    rows = np.stack([random.permutation(100) for _ in range(40)])
    rights = [random.integers(0, 100, 3) for _ in range(40)]
    recalls = measure(rows, rights, depths)
    whole = measure(rows, rights, (1, 5, 10, 20))
    shares = [share.share for share in whole.of_all.values()]
    assert recalls.averages["all"].share == pytest.approx(np.mean(shares))
    write_report(tmp_path, recalls, {})
    lines = [r for r in csv.DictReader((tmp_path / "recalls.csv").open()) if r["k"] == "avg"]
    assert [line["n"] for line in lines] == ["40"]
    assert json.loads((tmp_path / "recalls.json").read_text())["why_no_R_avg"] == ""


def test_too_shallow_a_search_says_why_there_is_no_average(tmp_path):
    recalls = measure(ROWS, POSITIVES, (1, 5, 10))
    write_report(tmp_path, recalls, {})
    assert not recalls.averages
    why = "No R_avg, the mean of R@1, 5, 10 and 20: R@10 was the deepest asked for"
    assert why in (tmp_path / "recalls.md").read_text()
    assert json.loads((tmp_path / "recalls.json").read_text())["why_no_R_avg"].startswith(why)
    ranks = np.array([-1, 0, 1, 4, 9, 19, 20])
    assert averaged_hits(ranks).tolist() == [0, 1, 0.75, 0.75, 0.5, 0.25, 0]


@pytest.fixture
def photos(tmp_path):
    colours = [(200, 0, 200), (0, 0, 250), (250, 250, 0)]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (90, 60), colour).save(path)
    return paths


def test_frames_tell_right_from_wrong(photos, tmp_path):
    answers = [Answer(photos[1], True, "3 m"), Answer(photos[2], False, "90 m")]
    write_panel(tmp_path / "panel.png", photos[0], answers)
    panel = np.asarray(Image.open(tmp_path / "panel.png"))
    wide = panel.shape[1] // 3
    assert [tuple(panel[1, wide * i + wide // 2]) for i in range(3)] == [UNKNOWN, RIGHT, WRONG]
    middles = [tuple(panel[panel.shape[0] // 2, wide * i + wide // 2]) for i in range(3)]
    assert middles == [(200, 0, 200), (0, 0, 250), (250, 250, 0)]


def test_a_panel_survives_an_unreadable_photo(photos, tmp_path):
    photos[1].write_bytes(b"nothing")
    write_panel(tmp_path / "panel.png", photos[0], [Answer(photos[1], None, "")])
    assert (tmp_path / "panel.png").is_file()


def test_unlabelled_predictions_claim_no_truth(photos, tmp_path):
    found = Nearest(np.array([[1, 2, -1]]), np.array([[0.25, 0.5, np.inf]], np.float32))
    searched = Searched(photos, photos[:1], found)
    write_predictions(tmp_path / "predictions.csv", searched)
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [(r["rank"], r["photo"], r["is_right"], r["distance_m"]) for r in rows] == [
        ("1", "1.png", "", ""),
        ("2", "2.png", "", ""),
    ]
    write_panels(tmp_path / "panels", searched, 5)
    panel = np.asarray(Image.open(tmp_path / "panels" / "00000.png"))
    assert tuple(panel[1, panel.shape[1] // 2]) == UNKNOWN

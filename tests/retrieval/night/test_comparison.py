"""Models by day and by night: counts against loops, words that keep to their intervals."""

import csv
import json

import numpy as np
import pytest

from retrieval.night.comparison import (
    compare_by_condition,
    markdown,
    verdicts,
    write_night_report,
)
from retrieval.night.plot import draw_night

NAMES = np.array(["day"] * 60 + ["night"] * 60 + [""] * 3)


def made(random, right_by_day, right_by_night):
    """Ranks with about these shares of first answers right."""
    chance = np.where(NAMES == "night", right_by_night, right_by_day)
    right = random.random(len(NAMES)) < chance
    return np.where(right, 0, random.choice([-1, 1, 3, 7, 19], len(NAMES)))


@pytest.fixture
def ranks():
    random = np.random.default_rng(0)
    return {
        "plain": made(random, 0.9, 0.2),
        "night": made(random, 0.9, 0.7),
        "again": made(random, 0.9, 0.2),
    }


@pytest.fixture
def rows(ranks):
    return compare_by_condition(ranks, NAMES, (1, 5))


def test_every_row_is_counted_as_in_a_loop(ranks, rows):
    assert [(row.condition, row.model) for row in rows] == [
        (condition, model) for condition in ("day", "night", "all") for model in ranks
    ]
    for row in rows:
        chosen = [i for i, name in enumerate(NAMES) if row.condition in ("all", name)]
        for k, share in row.shares.items():
            hits = [i for i in chosen if 0 <= ranks[row.model][i] < k]
            before = [i for i in chosen if 0 <= ranks["plain"][i] < k]
            assert (share.hits, share.n) == (len(hits), len(chosen))
            if row.model == "plain":
                assert not row.differences
                continue
            d = row.differences[k]
            assert (d.only_b, d.only_a) == (
                len(set(hits) - set(before)),
                len(set(before) - set(hits)),
            )
            assert d.low <= (len(hits) - len(before)) / len(chosen) <= d.high


def test_words_keep_to_the_interval(rows):
    said = verdicts(rows, 1)
    compared = [r for r in rows if r.condition in ("day", "night") and r.model != "plain"]
    for row, sentence in zip(compared, said, strict=True):
        d = row.differences[1]
        word = "finds more" if d.low > 0 else "finds fewer" if d.high < 0 else "no clear difference"
        assert sentence.startswith(f"By {row.condition} (60 queries), R@1: ")
        assert row.model in sentence
        assert word in sentence
    assert sum("night finds more than plain" in s for s in said if s.startswith("By night")) == 1
    worse = compare_by_condition(
        {"night": np.zeros(60, int), "plain": np.full(60, -1)}, np.full(60, "night"), (1,)
    )
    assert "plain finds fewer than night" in verdicts(worse, 1)[0]


def test_few_queries_are_called_few():
    few = compare_by_condition({"a": np.zeros(9, int), "b": np.zeros(9, int)}, NAMES[:9], (1,))
    assert verdicts(few, 1) == [
        "By day (9 queries), R@1: no clear difference between b and a: +0.0 points [+0.0, +0.0], "
        "McNemar p 1. That is few queries."
    ]


def test_the_report_holds_what_was_counted(rows, tmp_path):
    write_night_report(tmp_path, rows, {"data": "somewhere"})
    table = list(csv.DictReader((tmp_path / "night.csv").open()))
    assert len(table) == len(rows) * 2
    plain = json.loads((tmp_path / "night.json").read_text())
    for line, (row, k) in zip(table, ((row, k) for row in rows for k in (1, 5)), strict=True):
        assert (line["queries"], line["model"], int(line["k"])) == (row.condition, row.model, k)
        assert (int(line["hits"]), int(line["n"])) == (row.shares[k].hits, row.shares[k].n)
        found = row.differences.get(k)
        assert line["mcnemar_p"] == (f"{found.p:.4g}" if found else "")
    assert plain["rows"][1]["recalls"]["R@1"]["hits"] == rows[1].shares[1].hits
    text = markdown(rows, {"data": "somewhere"})
    assert text.count("\n| ") == len(rows)
    assert "Each p is of a single test; 4 were made." in text
    assert "- data: somewhere" in text


@pytest.mark.parametrize("models", [1, 3])
def test_the_picture_is_drawn(ranks, models, tmp_path):
    kept = dict(list(ranks.items())[:models])
    draw_night(compare_by_condition(kept, NAMES, (1,)), 1, tmp_path / "night.png", "made up")
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")

"""Models by day and by night: counts against loops, words that keep to their intervals."""

import csv
import json

import numpy as np
import pytest

from retrieval.night.comparison import compare_by_condition, cost_of_night
from retrieval.night.conditions import COPIED
from retrieval.night.page import cost_verdicts, markdown, verdicts, write_night_report
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


def test_a_difference_is_clear_where_interval_and_exact_test_agree():
    """Seven of 24 lost and one won: the interval leaves 0 out, the exact test does not."""
    pairs = np.stack([np.arange(24), np.arange(24, 48)], axis=1)
    day, night = np.zeros(24, int), np.zeros(24, int)
    night[:7], day[7] = -1, -1
    cost = cost_of_night({"a": np.r_[day, night]}, pairs, (1,))
    d = cost[0].differences[1]
    assert d.high < 0
    assert d.p > 0.05
    assert "no clear difference" in cost_verdicts(cost, 1)[0]
    night[:12] = -1
    night[7] = 0
    cost = cost_of_night({"a": np.r_[day, night]}, pairs, (1,))
    assert "a finds fewer by SYNTHETIC night than by day" in cost_verdicts(cost, 1)[0]


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


@pytest.fixture
def copied():
    """40 queries by day, half of which the night copies behind them lose."""
    names = np.array(["day"] * 40 + [COPIED] * 40)
    ranks = {"a": np.r_[np.zeros(40, int), np.tile([0, 3], 20)], "b": np.zeros(80, int)}
    return ranks, names, np.stack([np.arange(40), np.arange(40, 80)], axis=1)


def test_what_night_costs_is_counted_pair_by_pair(copied, tmp_path):
    ranks, names, pairs = copied
    rows, costs = compare_by_condition(ranks, names, (1, 5)), cost_of_night(ranks, pairs, (1, 5))
    for cost in costs:
        for k, d in cost.differences.items():
            right = [(0 <= ranks[cost.model][i] < k, 0 <= ranks[cost.model][j] < k)
                     for i, j in pairs]  # fmt: skip
            counts = right.count((True, False)), right.count((False, True))
            assert (d.photos, d.only_a, d.only_b) == (40, *counts)
    said = cost_verdicts(costs, 1)
    assert "a finds fewer by SYNTHETIC night than by day: -50.0 points" in said[0]
    assert "no clear difference between day and SYNTHETIC night for b: +0.0" in said[1]
    write_night_report(tmp_path, rows, {}, costs)
    text = (tmp_path / "night.md").read_text()
    assert "| by night minus by day | n | R@1 | R@5 |" in text
    plain = json.loads((tmp_path / "night.json").read_text())
    assert plain["night_minus_day"]["a"]["R@1"]["difference"] == -50
    assert cost_of_night(ranks, pairs[:0], (1,)) == []


def test_copies_never_count_twice(copied):
    ranks, names, _ = copied
    rows = compare_by_condition(ranks, names, (1,))
    assert [(row.condition, row.shares[1].n) for row in rows] == [("day", 40)] * 2 + [
        (COPIED, 40)
    ] * 2
    more = {model: np.r_[found, 0] for model, found in ranks.items()}
    rows = compare_by_condition(more, np.append(names, "night"), (1,))
    assert {row.condition: row.shares[1].n for row in rows} == {
        "day": 40, "night": 1, COPIED: 40, "all": 41,
    }  # fmt: skip
    real = np.where(names == "day", "night", names)  # a night copy of a set with real nights
    assert [row.condition for row in compare_by_condition(ranks, real, (1,))] == [
        "night", "night", COPIED, COPIED,
    ]  # fmt: skip


@pytest.mark.parametrize("models", [1, 3])
def test_the_picture_is_drawn(ranks, models, tmp_path):
    kept = dict(list(ranks.items())[:models])
    draw_night(compare_by_condition(kept, NAMES, (1,)), 1, tmp_path / "night.png", "made up")
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")

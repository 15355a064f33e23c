"""A test's figures and tables beside loops over the photos."""

import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from data.benchmarks import describe
from data.photos.facts import PhotoFacts
from models.bundles.bundle import Bundle
from models.evaluation import report
from models.evaluation.accuracy import Answers, Coverage
from models.evaluation.author_hashes import author_hashes
from models.evaluation.calibration import Calibration
from models.evaluation.evaluate import Evaluation
from models.evaluation.geoscore import geoscores
from models.evaluation.report import BY_CONTINENT, BY_SCENE, NEW_AUTHORS, summarise
from models.evaluation.report_tables import (
    ALL,
    headline,
    markdown,
    notes,
    print_report,
    write_report,
)

N = 60
AUTHORS = np.array([f"author {i % 7}" if i % 4 else "" for i in range(N)], dtype=object)
SCENES = np.array([i % 4 - 1 for i in range(N)])


@pytest.fixture(scope="module")
def evaluation():
    rng = np.random.default_rng(4)
    lat, lon = rng.uniform(-60, 60, N), rng.uniform(-180, 180, N)
    rows = {}
    for name in ("fine", "hierarchical", "prior"):
        errors_km = rng.lognormal(6, 2, N)
        rows[name] = Answers(lat, lon, errors_km, np.zeros(N, int), np.full(N, 0.1))
    regions = [Coverage(0.9, 50, N, 12.0)]
    return Evaluation([f"p{i}" for i in range(N)], lat, lon, rows, np.zeros(N), regions, None)


@pytest.fixture(scope="module")
def facts():
    cities = np.array(["Lima"] * 30 + [""] * 30, dtype=object)
    return PhotoFacts([f"p{i}" for i in range(N)], AUTHORS, SCENES, {"city": cities})


@pytest.fixture(scope="module")
def summary(evaluation, facts, tmp_path_factory):
    """The figures with two known training authors, and with countries that are belts."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "t.csv").write_text("IMG_ID\n")
    bundle = Bundle(folder, {"model_sha256": "f" * 64}, None, Calibration(photos=9))
    known = np.unique(author_hashes(["author 1", "author 2"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_countries", belts)
        figures = summarise(bundle, evaluation, ["p9: broken"], 2, facts, known)
    protocol = describe(None, folder / "t.csv", None, "")
    return {"protocol": protocol, "crops": 1, "decode": "mean", **figures}


def belts(lat, lon):
    return np.where(lat > 40, "", np.where(lat > 0, "Peru", "Fiji"))


def hits(errors, km, keep):
    return sum(e <= km for e, kept in zip(errors, keep, strict=True) if kept)


def test_rows_count_photos(summary, evaluation):
    for name, answers in evaluation.answers.items():
        row = summary["rows"][name]
        for km in (1, 25, 200, 750, 2500):
            share = row["within_km"][str(km)]
            assert share["hits"] == hits(answers.errors_km, km, [True] * N)
            assert share["low"] <= share["percent"] <= share["high"]
        assert row["median_km"] == pytest.approx(np.median(answers.errors_km))


def test_photos_by_other_authors_are_counted_apart(summary, evaluation):
    new = [a not in ("", "author 1", "author 2") for a in AUTHORS]
    rows = summary["groups"][NEW_AUTHORS]
    assert list(rows) == list(summary["rows"])
    for name, row in rows.items():
        errors = evaluation.answers[name].errors_km
        assert row["photos"] == sum(new)
        assert row["within_km"]["750"]["hits"] == hits(errors, 750, new)
    assert f"{sum(new)} of {sum(a != '' for a in AUTHORS)} photos" in summary["authors"]


def test_groups_hold_every_photo_once(summary, evaluation):
    errors = evaluation.answers["hierarchical"].errors_km
    scenes = summary["groups"][BY_SCENE]
    for number, name in enumerate(("unlabelled", "indoor", "natural", "urban")):
        assert scenes[name]["within_km"]["750"]["hits"] == hits(
            errors, 750, [s == number - 1 for s in SCENES]
        )
    continents = summary["groups"][BY_CONTINENT]
    assert set(continents) == {"South America", "Oceania", "no country"}
    for rows in (scenes, continents):
        assert sum(row["photos"] for row in rows.values()) == N
    keep = evaluation.lat <= 0
    assert continents["Oceania"]["within_km"]["2500"]["hits"] == hits(errors, 2500, keep)


def test_score_areas_and_country(summary, evaluation):
    expected = geoscores(evaluation.answers["hierarchical"].errors_km).mean()
    assert summary["geoscore"]["mean"] == pytest.approx(expected)
    low, high = summary["geoscore"]["95"]
    assert low < expected < high
    outline = summary["areas"]["country by outline"]["right"]
    on_land = int((evaluation.lat <= 40).sum())
    assert (outline["hits"], outline["n"]) == (on_land, on_land)  # answers lie at the truth
    assert summary["areas"]["city"]["right"]["n"] == 30
    assert summary["areas"]["city"]["names lent by"] == "test photos"


def test_what_is_not_known_is_said(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_countries", lambda lat, lon: None)
    bundle = Bundle(tmp_path, {}, None, Calibration())
    nameless = PhotoFacts([], np.full(N, "", object), np.full(N, -1), {})
    known = author_hashes(["a"])
    for facts, authors, said in (
        (None, None, "training authors are not known: give --train_csv"),
        (nameless, known, "the test photos name no authors"),
    ):
        found = summarise(bundle, evaluation, [], 0, facts, authors)
        assert said in found["authors"]
        assert (found["groups"], found["areas"]) == ({}, {})


def test_the_head_names_protocol_count_and_hash(summary):
    head = headline(summary)
    assert "no protocol, 60 photos" in head
    assert summary["protocol"]["list_sha256"][:12] in head
    named = summary["protocol"] | {"name": "im2gps", "title": "Im2GPS", "expected": 237}
    assert ": Im2GPS, 60 of 237 photos" in headline(summary | {"protocol": named})
    wrong = summary | {"protocol": named | {"problem": "Im2GPS has 237"}}
    assert ": NOT Im2GPS, 60 of 237" in headline(wrong)
    assert "WARNING: Im2GPS has 237" in "\n".join(notes(wrong))


def test_tables_on_screen_and_on_disk(summary, tmp_path, capsys):
    print_report(summary, Console(width=140))
    printed = capsys.readouterr().out
    share = summary["rows"]["hierarchical"]["within_km"]["750"]
    for text in (
        f"{share['percent']:.1f} ({share['hits']})",
        "authors not in training",
        "South America",
        "GeoScore",
        "region 90%: held the truth in 50 of 60",
        "1 photos could not be read: p9: broken",
        "2 rows of the table were refused",
    ):
        assert text in printed
    write_report(tmp_path / "out", summary)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == summary
    text = (tmp_path / "out" / "table.md").read_text()
    assert text == markdown(summary)
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    row = table[(table.group == ALL) & (table.row == "fine") & (table.km == 750)].iloc[0]
    assert row["hits"] == summary["rows"]["fine"]["within_km"]["750"]["hits"]
    other = summary["groups"][NEW_AUTHORS]["fine"]
    assert row["new_authors_hits"] == other["within_km"]["750"]["hits"]
    assert row["new_authors_n"] == other["photos"]
    assert len(table) == 5 * (3 + 4 + 3)


def test_other_options_are_told(summary):
    assert "crops" not in next(notes(summary))
    assert "10 crops a photo" in next(notes(summary | {"crops": 10}))

"""The figures of a test, gathered once; models/evaluation/report_tables.py prints and writes them.

A row is a way of decoding (or a group of photos): % within each distance with hits and a 95%
bootstrap interval, and the median error with one. Groups of photos (scene, continent) have rows of
the hierarchical answer; photos by authors that training never saw have all rows again.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.photos.facts import AREAS, SCENES, PhotoFacts
from models.bundles.bundle import Bundle
from models.evaluation.accuracy import HIERARCHICAL
from models.evaluation.areas import Named, area_accuracy
from models.evaluation.author_hashes import is_new_author
from models.evaluation.evaluate import Evaluation
from models.evaluation.geoscore import geoscores
from models.evaluation.intervals import (
    bootstrap_interval,
    bootstrap_median_interval,
    bootstrap_share_interval,
    share_of,
    wilson_interval,
    within_km,
)
from partitioning.continents import continents_of

NEW_AUTHORS, BY_SCENE, BY_CONTINENT = "authors not in training", "scene", "continent"
UNLABELLED, NO_LAND = "unlabelled", "no country"


def row_of(errors_km: NDArray[np.float64]) -> dict[str, Any]:
    """The figures of one row, plain types."""
    shares = within_km(errors_km, interval=bootstrap_share_interval)
    return {
        "photos": len(errors_km),
        "within_km": {f"{km:g}": share.percents() for km, share in shares.items()},
        "median_km": float(np.median(errors_km)),
        "median_km_95": list(bootstrap_median_interval(errors_km)),
    }


def summarise(
    bundle: Bundle,
    evaluation: Evaluation,
    unreadable: list[str],
    refused: int,
    facts: PhotoFacts | None = None,
    authors: NDArray[np.uint64] | None = None,
    reference: Mapping[str, Named] | None = None,
) -> dict[str, Any]:
    """All figures of a test, plain types.

    Args:
        bundle: the model.
        evaluation: what it answered.
        unreadable: photos left out, and why.
        refused: unusable rows of the table.
        facts: of the answered photos, in their order.
        authors: hashes of the training authors; None where nobody knows them.
        reference: training photos whose areas have names, by area.
    """
    best = evaluation.answers[HIERARCHICAL]
    scores = geoscores(best.errors_km)
    return {
        "model": str(bundle.path),
        "model_sha256": bundle.config.get("model_sha256", ""),
        "photos": len(evaluation.keys),
        "unreadable": unreadable,
        "refused_rows": refused,
        "calibration_photos": bundle.calibration.photos,
        "rows": {name: row_of(row.errors_km) for name, row in evaluation.answers.items()},
        "groups": _groups(evaluation, facts, authors),
        "authors": _authors_note(facts, authors),
        "geoscore": {"mean": float(scores.mean()), "95": list(bootstrap_interval(scores, np.mean))},
        "areas": _areas(evaluation, facts, reference or {}),
        "regions": [
            {**c._asdict(), "interval_95": list(wilson_interval(c.held, c.photos))}
            for c in evaluation.regions
        ],
    }


def _groups(
    evaluation: Evaluation, facts: PhotoFacts | None, authors: NDArray[np.uint64] | None
) -> dict[str, dict[str, Any]]:
    """Rows of groups of photos, by kind of group."""
    errors_km = evaluation.answers[HIERARCHICAL].errors_km
    groups: dict[str, dict[str, Any]] = {}
    if facts is not None and authors is not None:
        new = is_new_author(facts.author, authors)
        if new.any():
            groups[NEW_AUTHORS] = {
                name: row_of(row.errors_km[new]) for name, row in evaluation.answers.items()
            }
    if facts is not None and (facts.scene >= 0).any():
        names = np.array([*SCENES, UNLABELLED])[facts.scene]  # -1 takes the last
        groups[BY_SCENE] = _rows_by(names, errors_km)
    if (countries := _countries(evaluation.lat, evaluation.lon)) is not None:
        continents = continents_of(countries)
        groups[BY_CONTINENT] = _rows_by(np.where(continents == "", NO_LAND, continents), errors_km)
    return groups


def _rows_by(names: NDArray, errors_km: NDArray[np.float64]) -> dict[str, Any]:
    return {str(name): row_of(errors_km[names == name]) for name in sorted(set(names.tolist()))}


def _authors_note(facts: PhotoFacts | None, authors: NDArray[np.uint64] | None) -> str:
    """What is known of the authors, in words: a missing row must not read as a clean bill."""
    known = 0 if facts is None else int((facts.author != "").sum())
    if authors is None:
        return (
            "the training authors are not known: give --train_csv or --train_shards to count "
            "photos by other authors apart"
        )
    if facts is None or not known:
        return "the test photos name no authors"
    new = int(is_new_author(facts.author, authors).sum())
    return (
        f"{new:,} of {known:,} photos with an author are by authors not among the training's "
        f"{len(authors):,}; {len(facts.author) - known:,} photos name none"
    )


def _areas(
    evaluation: Evaluation, facts: PhotoFacts | None, reference: Mapping[str, Named]
) -> dict[str, Any]:
    """Accuracy by country outline, and by the names that the photos' table gives."""
    best = evaluation.answers[HIERARCHICAL]
    answer, truth = (best.lat, best.lon), (evaluation.lat, evaluation.lon)
    found: dict[str, Any] = {}
    true_country = _countries(*truth)
    if true_country is not None and (true_country != "").any():
        known = true_country != ""
        right = (_countries(*answer) == true_country) & known
        share = share_of(int(right.sum()), int(known.sum()))
        found["country by outline"] = {"right": share.percents()}
    for area in AREAS:
        if facts is None or area not in facts.areas:
            continue
        accuracy = area_accuracy(answer, truth, facts.areas[area], reference.get(area))
        if accuracy is not None:
            found[area] = {k: share.percents() for k, share in accuracy._asdict().items()}
            found[area]["names lent by"] = "training" if area in reference else "test photos"
    return found


def _countries(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray | None:
    """The country of each position; None where the outlines are not there."""
    try:
        from partitioning.countries import country_of
    except ImportError:
        return None
    return np.asarray(country_of(lat, lon), dtype=object)

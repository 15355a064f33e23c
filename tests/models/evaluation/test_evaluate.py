"""Evaluation batch by batch gives what all at once gives; what does not fit is refused."""

import numpy as np
import pytest

from models.bundles.bundle import Bundle
from models.decode import nested_posterior
from models.evaluation.accuracy import LOCAL_MEAN, answers_by_row, coverage
from models.evaluation.calibration import Calibration
from models.evaluation.evaluate import MASSES, evaluate, write_posteriors
from models.evaluation.local_mean import local_means
from models.predict import Predictions


@pytest.fixture
def opened(partition, tmp_path):
    counts = {level: len(cells) for level, cells in partition.levels.items()}
    config = {"architecture": {"num_cells": counts}}
    return Bundle(tmp_path, config, partition, Calibration(1.7, ((0.5, 0.4), (0.95, 0.9))))


def predictions(partition, rows):
    rng = np.random.default_rng(0)
    logits = {
        level: rng.normal(0, 2, (30, len(cells))).astype(np.float32)[rows]
        for level, cells in partition.levels.items()
    }
    lat, lon = partition.fine.lat[:30][rows] + 0.3, partition.fine.lon[:30][rows]
    empty = np.empty((len(lat), 0), np.float32)
    return Predictions([f"p{i}" for i in rows], logits, empty, empty, lat, lon, [])


def test_batches_give_what_one_gives(opened, partition):
    whole = predictions(partition, range(30))
    found = evaluate(opened, [predictions(partition, range(i, i + 10)) for i in (0, 10, 20)], True)
    assert found.keys == whole.keys
    np.testing.assert_array_equal(found.lat, whole.lat)
    expected = answers_by_row(whole.logits, partition, opened.calibration, whole.lat, whole.lon)
    assert list(found.answers) == list(expected)
    for name, answers in expected.items():
        for one, other in zip(found.answers[name], answers, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
    posterior = nested_posterior(whole.logits, opened.ancestors, 1.7)
    np.testing.assert_allclose(found.posterior, posterior, rtol=1e-6)
    cells = partition.fine.assign(whole.lat, whole.lon)
    np.testing.assert_array_equal(found.true_cells, cells)
    assert found.regions == [coverage(posterior, cells, opened.calibration, m) for m in MASSES]


def test_probabilities_are_those_of_the_chosen_cells(opened, partition):
    whole = predictions(partition, range(30))
    found = evaluate(opened, [whole])
    assert found.posterior.shape == (0, len(partition.fine))  # not kept
    for photo in range(30):
        weights = np.exp(whole.logits["coarse"][photo].astype(float))
        best = found.answers["coarse"].classes[photo]
        assert found.answers["coarse"].probability[photo] == pytest.approx(
            weights[best] / weights.sum()
        )
    photos = partition.fine.photos
    assert found.answers["prior"].probability[0] == pytest.approx(photos.max() / photos.sum())


def test_the_local_mean_moves_the_hierarchical_answer_alone(opened, partition):
    whole = predictions(partition, range(30))
    mean, local = evaluate(opened, [whole]), evaluate(opened, [whole], way=LOCAL_MEAN)
    posterior = nested_posterior(whole.logits, opened.ancestors, 1.7)
    place = local_means(posterior, partition.fine.lat, partition.fine.lon)
    np.testing.assert_allclose(local.answers["hierarchical"].lat, place.lat)
    assert (local.answers["hierarchical"].lat != mean.answers["hierarchical"].lat).any()
    np.testing.assert_array_equal(local.answers["fine"].lat, mean.answers["fine"].lat)
    with pytest.raises(ValueError, match="one of mean, local, got 'best'"):
        evaluate(opened, [whole], way="best")


@pytest.mark.parametrize("level", ["coarse", "fine"])
@pytest.mark.parametrize("change", [-1, 1])
def test_cells_of_another_partition(opened, partition, level, change):
    whole = predictions(partition, range(30))
    values = whole.logits[level]
    whole.logits[level] = values[:, :-1] if change < 0 else np.pad(values, ((0, 0), (0, 1)))
    with pytest.raises(ValueError, match=f"{level}: the model"):
        evaluate(opened, [whole])


def test_posteriors_are_saved_without_pickles(opened, partition, tmp_path):
    found = evaluate(opened, [predictions(partition, range(30))], keep_posterior=True)
    write_posteriors(tmp_path / "posteriors.npz", opened, found)
    with np.load(tmp_path / "posteriors.npz", allow_pickle=False) as saved:
        assert saved["img_id"].tolist() == found.keys
        np.testing.assert_array_equal(saved["posterior"], found.posterior)
        np.testing.assert_array_equal(saved["true_class"], found.true_cells)
        best = saved["posterior"].argmax(axis=1)
        answer = found.answers["hierarchical"]
        np.testing.assert_array_equal(saved["cell_lat"][best], answer.lat)
        np.testing.assert_array_equal(saved["error_km"], answer.errors_km)
        assert {"lat", "lon", "cell_lon"} <= set(saved)

"""Hierarchical decoding against a loop, and what it must keep."""

import numpy as np
import pytest

from models.decode import ancestors, log_softmax, nested_posterior


def softmax_row(row):
    exponential = [np.exp(float(v) - float(max(row))) for v in row]
    return [v / sum(exponential) for v in exponential]


@pytest.fixture
def logits(partition):
    rng = np.random.default_rng(0)
    return {level: rng.normal(size=(3, len(c))) for level, c in partition.levels.items()}


def test_posterior_matches_a_loop_over_cells(partition, logits):
    ours = nested_posterior(logits, ancestors(partition))
    for photo in range(3):
        chance = {level: softmax_row(values[photo]) for level, values in logits.items()}
        products = []
        for fine in range(len(partition.fine)):
            middle = partition.parents["fine"][fine]
            coarse = partition.parents["middle"][middle]
            products.append(
                chance["coarse"][coarse] * chance["middle"][middle] * chance["fine"][fine]
            )
        np.testing.assert_allclose(ours[photo], np.array(products) / sum(products), rtol=1e-9)


def test_ancestors_agree_with_the_partition_and_with_fewer_levels(partition):
    np.testing.assert_array_equal(ancestors(partition), partition.fine_ancestors())
    two = ancestors(partition, ("coarse", "middle"))
    np.testing.assert_array_equal(two[:, 0], partition.parents["middle"])


def test_temperature_flattens_and_rows_sum_to_one(partition, logits):
    sharp = nested_posterior(logits, ancestors(partition), 1.0)
    flat = nested_posterior(logits, ancestors(partition), 5.0)
    np.testing.assert_allclose(flat.sum(axis=1), 1)
    assert (flat.max(axis=1) < sharp.max(axis=1)).all()
    np.testing.assert_array_equal(flat.argmax(axis=1), sharp.argmax(axis=1))


def test_extreme_logits_do_not_overflow():
    out = log_softmax(np.array([[1e4, 0.0, -1e4]]))
    np.testing.assert_allclose(out[0, 0], 0, atol=1e-12)
    assert np.isfinite(out).all()


def test_logits_of_another_partition_are_refused(partition, logits):
    logits["fine"] = logits["fine"][:, :-1]
    with pytest.raises(ValueError, match="different partitions"):
        nested_posterior(logits, ancestors(partition))

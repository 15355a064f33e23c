"""GeoScore beside its formula, photo by photo."""

import math

import numpy as np
import pytest

from models.evaluation.geoscore import geoscores


def test_points():
    errors = [0.0, 1.0, 250.0, 1492.7, 20_000.0, math.inf]
    expected = [5000 * math.exp(-d / 1492.7) for d in errors]
    assert geoscores(errors).tolist() == pytest.approx(expected)
    assert geoscores(errors)[0] == 5000
    assert geoscores([1492.7])[0] == pytest.approx(5000 / math.e)
    assert geoscores(errors)[-1] == 0


def test_nothing_to_score():
    assert geoscores(np.empty(0)).shape == (0,)

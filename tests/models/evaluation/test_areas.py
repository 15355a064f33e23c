"""Names of areas beside a search through every pair of photos."""

import math

import numpy as np
import pytest

from models.evaluation import areas
from models.evaluation.areas import Named, area_accuracy, nearest_names


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
    return 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


def name_by_search(lat, lon, lending, own=None):
    best, found = 100.0, ""
    for row in range(len(lending.name)):
        if lending.name[row] == "" or row == own:
            continue
        away = distance_km(lat, lon, lending.lat[row], lending.lon[row])
        if away <= best:
            best, found = away, lending.name[row]
    return found


def places(seed, n):
    """Clusters, some about the antimeridian and the poles; every fifth photo has no name."""
    rng = np.random.default_rng(seed)
    centres = np.array([[48.0, 2.0], [-17.0, 179.9], [88.4, 10.0], [0.0, -70.0]])
    chosen = centres[rng.integers(len(centres), size=n)]
    lat = np.clip(chosen[:, 0] + rng.normal(0, 0.4, n), -90, 90)
    lon = (chosen[:, 1] + rng.normal(0, 1.5, n) + 180) % 360 - 180
    names = np.array([f"area {i}" if i % 5 else "" for i in range(n)], dtype=object)
    return Named(lat, lon, names)


@pytest.mark.parametrize("chunk", [7, 512])
def test_the_nearest_photo_lends_its_name(chunk, monkeypatch):
    monkeypatch.setattr(areas, "CHUNK", chunk)
    asking, lending = places(1, 60), places(2, 90)
    asking.lat[:6], asking.lon[:6] = -50.0, 100.0  # far from every name
    found = nearest_names(asking.lat, asking.lon, lending)
    expected = [
        name_by_search(*place, lending) for place in zip(asking.lat, asking.lon, strict=True)
    ]
    assert found.tolist() == expected
    assert 0 < expected.count("") < 60


def test_a_photo_does_not_lend_itself_its_name():
    lending = places(3, 70)
    found = nearest_names(lending.lat, lending.lon, lending, np.arange(70))
    expected = [name_by_search(lending.lat[i], lending.lon[i], lending, own=i) for i in range(70)]
    assert found.tolist() == expected
    assert not any(found[i] == lending.name[i] for i in range(70) if lending.name[i])


def test_accuracy_and_ceiling_by_hand():
    # three photos in a, two of them together; one alone in b; one without a name
    lat, lon = np.array([0.0, 0.1, 0.2, 40.0, 0.1]), np.array([0.0, 0.0, 0.0, 0.0, 0.1])
    name = np.array(["a", "a", "a", "b", ""], dtype=object)
    answer_lat = np.array([0.1, 60.0, 40.0, 0.0, 0.0])
    found = area_accuracy((answer_lat, lon), (lat, lon), name)
    assert (found.right.hits, found.right.n) == (1, 4)
    assert (found.ceiling.hits, found.ceiling.n) == (3, 4)  # b's own name may not answer
    training = Named(np.array([40.0]), np.array([0.0]), np.array(["b"], dtype=object))
    found = area_accuracy((answer_lat, lon), (lat, lon), name, training)
    assert (found.right.hits, found.ceiling.hits) == (0, 1)


def test_no_names_no_accuracy():
    nothing = np.array(["", ""], dtype=object)
    lat = lon = np.zeros(2)
    assert area_accuracy((lat, lon), (lat, lon), nothing) is None
    assert nearest_names(lat, lon, Named(lat, lon, nothing)).tolist() == ["", ""]

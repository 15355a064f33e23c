"""Distance-smoothed labels against a loop of haversines."""

import math

import numpy as np
import pytest
import torch

from models.losses.distance_labels import DistanceLabels
from partitioning.geodesy import haversine_km

LAT = np.array([48.85, 48.86, 51.5, -33.9, 0.0, 0.0, 89.9, -48.85])
LON = np.array([2.35, 2.36, -0.12, 151.2, 179.9, -179.9, 40.0, -177.65])
PHOTO_LAT, PHOTO_LON = [48.857, 0.05, -89.0], [2.352, 180.0, 10.0]


def degrees(values):
    return torch.tensor(values, dtype=torch.float64)


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


@pytest.mark.parametrize("tau_km", [30.0, 75.0, 2000.0])
def test_targets_match_a_loop_over_the_formula(tau_km):
    """Also that the distance of the true cell, whichever it is, cancels."""
    ours = DistanceLabels(LAT, LON, tau_km).targets(degrees(PHOTO_LAT), degrees(PHOTO_LON))
    for row, (lat, lon) in enumerate(zip(PHOTO_LAT, PHOTO_LON, strict=True)):
        distances = [distance_km(lat, lon, a, b) for a, b in zip(LAT, LON, strict=True)]
        true = min(distances)
        weights = [math.exp(-(d - true) / tau_km) for d in distances]
        expected = [w / sum(weights) for w in weights]
        np.testing.assert_allclose(ours[row].numpy(), expected, rtol=1e-4, atol=1e-7)


def test_distances_hold_from_a_metre_to_half_way_round():
    metre = 1 / 111_195
    lat = np.array([10 + metre, 10 + 100 * metre, 11.0, -10.0, -10 + 1e-3])
    lon = np.array([20.0, 20.0, 20.0, -160.0, -160.0])
    labels = DistanceLabels(lat, lon, 75)
    photo = labels.photo_vectors(degrees([10.0]), degrees([20.0]))
    ours = labels.distances_km(photo)[0].numpy()
    expected = [distance_km(10, 20, a, b) for a, b in zip(lat, lon, strict=True)]
    np.testing.assert_allclose(ours[:3], expected[:3], rtol=1e-5, atol=3e-4)
    np.testing.assert_allclose(ours[3:], expected[3:], atol=5)  # arcsin is steep at antipodes


def test_the_test_would_see_float32_positions():
    """At the same place float32 vectors err by far more than the bound above."""
    labels = DistanceLabels([10 + 1 / 111_195], [20.0], 75)
    labels.cells = labels.cells.float()
    photo = labels.photo_vectors(degrees([10.0]), degrees([20.0])).float()
    assert abs(labels.distances_km(photo).item() - 1e-3) > 3e-3


def test_a_cast_of_the_model_cannot_reach_the_positions():
    holder = torch.nn.Module()
    holder.labels = DistanceLabels(LAT, LON, 75)
    holder.to(torch.bfloat16)
    assert holder.labels.cells.dtype == torch.float64


def test_pieces_are_the_whole():
    rng = np.random.default_rng(0)
    labels = DistanceLabels(rng.uniform(-90, 90, 9000), rng.uniform(-180, 180, 9000), 100)
    lat, lon = degrees([1.0, 50.0]), degrees([2.0, -70.0])
    photos = labels.photo_vectors(lat, lon)
    pieces = [labels.log_weights(photos, start, start + 1000) for start in range(0, 9000, 1000)]
    whole = labels.targets(lat, lon)
    torch.testing.assert_close(torch.cat(pieces, 1).softmax(1), whole)
    km = haversine_km(1.0, 2.0, *_positions(labels))
    assert whole[0].argmax().item() == km.argmin()


def _positions(labels):
    x, y, z = labels.cells.numpy().T
    return np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))


def test_one_photo_is_the_row_of_many_and_rows_sum_to_one():
    rng = np.random.default_rng(1)
    lat, lon = degrees(rng.uniform(-80, 80, 8)), degrees(rng.uniform(-180, 180, 8))
    labels = DistanceLabels(LAT, LON, 500)
    many = labels.targets(lat, lon)
    torch.testing.assert_close(many.sum(dim=1), torch.ones(8))
    for row in range(8):
        one = labels.targets(lat[row : row + 1], lon[row : row + 1])
        torch.testing.assert_close(one[0], many[row])
    assert labels.targets(lat[:0], lon[:0]).shape == (0, len(LAT))
    assert DistanceLabels([1.0], [2.0], 75).targets(lat, lon).tolist() == [[1.0]] * 8


def test_a_small_tau_is_the_nearest_cell_and_a_large_one_all_alike():
    lat, lon = degrees([48.8501]), degrees([2.3501])
    near = DistanceLabels(LAT, LON, 0.01).targets(lat, lon)[0]
    assert near.tolist() == [1.0] + [0.0] * 7
    far = DistanceLabels(LAT, LON, 1e9).targets(lat, lon)[0]
    np.testing.assert_allclose(far.numpy(), 1 / 8, atol=1e-4)


@pytest.mark.parametrize("tau_km", [0, -1, math.inf, math.nan])
def test_a_senseless_tau_is_refused(tau_km):
    with pytest.raises(ValueError, match="above 0 km"):
        DistanceLabels(LAT, LON, tau_km)

"""The posterior-weighted local mean against a loop over the formula."""

import math

import numpy as np
import pytest

from models.evaluation.local_mean import local_means

CELLS = 30


@pytest.fixture
def world():
    """Posteriors of 8 photos, and cells in clusters, some about the date line and a pole."""
    rng = np.random.default_rng(0)
    lat = np.repeat([48.0, -20.0, 89.0], 10) + rng.normal(0, 0.7, CELLS)
    lon = np.repeat([2.0, 179.9, 0.0], 10) + rng.normal(0, 0.7, CELLS)
    lon[20:] = rng.uniform(-180, 180, 10)
    posterior = rng.dirichlet(np.full(CELLS, 0.3), 8)
    return posterior, np.clip(lat, -90, 90), (lon + 180) % 360 - 180


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(min(1.0, math.sqrt(h)))


def by_loop(posterior, lat, lon, radius_km, top_k):
    best = max(range(len(posterior)), key=lambda c: posterior[c])
    likeliest = sorted(range(len(posterior)), key=lambda c: -posterior[c])[:top_k]
    x = y = z = 0.0
    for c in likeliest:
        if distance_km(lat[best], lon[best], lat[c], lon[c]) <= radius_km:
            phi, theta = math.radians(lat[c]), math.radians(lon[c])
            x += posterior[c] * math.cos(phi) * math.cos(theta)
            y += posterior[c] * math.cos(phi) * math.sin(theta)
            z += posterior[c] * math.sin(phi)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


@pytest.mark.parametrize("radius_km", [0, 50, 200, 3000])
@pytest.mark.parametrize("top_k", [1, 5, 1000])
def test_it_matches_a_loop_and_one_photo_is_the_row_of_many(world, radius_km, top_k):
    posterior, lat, lon = world
    ours = local_means(posterior, lat, lon, radius_km, top_k)
    for row in range(len(posterior)):
        expected = by_loop(posterior[row], lat, lon, radius_km, top_k)
        assert distance_km(ours.lat[row], ours.lon[row], *expected) < 1e-3
        one = local_means(posterior[row : row + 1], lat, lon, radius_km, top_k)
        assert distance_km(one.lat[0], one.lon[0], *expected) < 1e-3


@pytest.mark.parametrize(("radius_km", "top_k"), [(0, 1000), (5000, 1)])
def test_no_neighbour_leaves_the_likeliest_cell(world, radius_km, top_k):
    posterior, lat, lon = world
    ours, best = local_means(posterior, lat, lon, radius_km, top_k), posterior.argmax(axis=1)
    np.testing.assert_allclose(ours.lat, lat[best], atol=1e-9)
    np.testing.assert_allclose(ours.lon, lon[best], atol=1e-9)


def test_neighbours_meet_between_them_across_the_date_line():
    ours = local_means(np.array([[0.5, 0.5, 0.0]]), [0, 0, 50], [179.5, -179.5, 10], 500)
    assert abs(ours.lon[0]) == pytest.approx(180)
    weighted = local_means(np.array([[0.75, 0.25]]), [0, 0], [0.0, 1.0], 500)
    assert weighted.lon[0] == pytest.approx(0.25, abs=1e-4)


def test_a_second_guess_far_away_does_not_pull():
    ours = local_means(np.array([[0.51, 0.49]]), [48.85, 40.7], [2.35, -74.0], 200)
    assert (ours.lat[0], ours.lon[0]) == (pytest.approx(48.85), pytest.approx(2.35))


def test_antipodes_that_cancel_leave_the_likeliest_cell():
    ours = local_means(np.array([[0.5, 0.5]]), [0.0, 0.0], [10.0, -170.0], 30_000)
    assert (ours.lat[0], ours.lon[0]) == (pytest.approx(0), pytest.approx(10))


def test_equals_of_the_last_one_count_whatever_their_order():
    lat, lon = np.zeros(4), np.array([0.0, 1.0, -1.0, 0.5])
    posterior = np.array([[0.4, 0.2, 0.2, 0.2]])
    turned = [3, 2, 1, 0]
    ours = local_means(posterior, lat, lon, 500, 2)
    other = local_means(posterior[:, turned], lat, lon[turned], 500, 2)
    assert ours.lon[0] == pytest.approx(other.lon[0])
    assert ours.lon[0] == pytest.approx(0.1, abs=1e-4)


def test_many_photos_in_pieces_no_photo_and_one_cell(world):
    posterior, lat, lon = world
    many = local_means(np.tile(posterior, (80, 1)), lat, lon)
    few = local_means(posterior, lat, lon)
    np.testing.assert_allclose(many.lat, np.tile(few.lat, 80))
    assert local_means(posterior[:0], lat, lon).lat.shape == (0,)
    assert local_means(np.ones((2, 1)), [5.0], [6.0]).lon == pytest.approx([6, 6])


def test_it_lies_nearer_to_the_truth_where_neighbours_share_the_probability():
    """Photos between cells of a grid, posteriors that fall with distance, noise on top."""
    rng = np.random.default_rng(1)
    lat, lon = (axis.ravel() for axis in np.meshgrid(np.arange(40, 50.0), np.arange(0, 10.0)))
    true_lat, true_lon = rng.uniform(42, 48, 300), rng.uniform(2, 8, 300)
    squared = (true_lat[:, None] - lat) ** 2 + (true_lon[:, None] - lon) ** 2
    logits = -squared + rng.normal(0, 0.3, squared.shape)
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def mean_error(radius_km):
        ours = local_means(posterior, lat, lon, radius_km)
        pairs = zip(true_lat, true_lon, ours.lat, ours.lon, strict=True)
        return np.mean([distance_km(*pair) for pair in pairs])

    assert mean_error(250) < 0.7 * mean_error(0)


def test_what_makes_no_sense_is_refused(world):
    posterior, lat, lon = world
    with pytest.raises(ValueError, match="different partitions"):
        local_means(posterior, lat[1:], lon[1:])
    for radius_km, top_k in ((-1, 5), (math.nan, 5), (10, 0)):
        with pytest.raises(ValueError, match="radius_km must be"):
            local_means(posterior, lat, lon, radius_km, top_k)

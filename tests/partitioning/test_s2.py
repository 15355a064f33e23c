"""S2 arithmetic equals s2sphere on every point tried."""

import math

import numpy as np
import pytest
import s2sphere
from hypothesis import example, given
from hypothesis import strategies as st

from partitioning import projection, s2

# Where the cube's faces, the map's seams and the signs of zero meet.
SEAM_LATS = [-90.0, 90.0, 0.0, -0.0, 45.0, -45.0, math.degrees(math.atan(math.sqrt(0.5)))]
SEAM_LONS = [-180.0, 180.0, 0.0, -0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0]


def with_neighbours(values, limit):
    """The values, their next floats up and down, and points a hair away, within the limit."""
    values = np.array(values)
    near = [values, np.nextafter(values, 999), np.nextafter(values, -999)]
    near += [values + step for step in (1e-15, -1e-15, 1e-12, -1e-12, 1e-9, -1e-9)]
    return np.clip(np.concatenate(near), -limit, limit)


def seams():
    lat, lon = np.meshgrid(with_neighbours(SEAM_LATS, 90), with_neighbours(SEAM_LONS, 180))
    return lat.ravel(), lon.ravel()


def cell_edges(num, seed):
    """Corners of cells of all levels, computed by s2sphere, where rounding decides the leaf."""
    rng = np.random.default_rng(seed)
    points = []
    for level in rng.integers(0, 31, num).tolist():
        lat, lon = math.degrees(math.asin(rng.uniform(-1, 1))), rng.uniform(-180, 180)
        leaf = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(lat, lon))
        cell = s2sphere.Cell(leaf.parent(level))
        for k in range(4):
            corner = s2sphere.LatLng.from_point(cell.get_vertex(k))
            points.append((corner.lat().degrees, corner.lng().degrees))
    lat, lon = np.array(points).T
    return np.clip(lat, -90, 90), np.clip(lon, -180, 180)


def random_positions(num, seed=0):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, num))), rng.uniform(-180, 180, num)


def some_cells(num=400, seed=1):
    """Cells of all levels."""
    leaves = s2.cell_ids(*random_positions(num, seed))
    return np.array([s2.parents(leaves[k : k + 1], k % 31)[0] for k in range(num)])


def test_leaf_ids_equal_s2sphere_on_100_000_random_points(oracle):
    lat, lon = random_positions(100_000)
    np.testing.assert_array_equal(s2.cell_ids(lat, lon), oracle.ids(lat, lon))


def test_leaf_ids_equal_s2sphere_at_poles_antimeridian_and_face_edges(oracle):
    lat, lon = seams()
    np.testing.assert_array_equal(s2.cell_ids(lat, lon), oracle.ids(lat, lon))


def test_leaf_ids_equal_s2sphere_on_cell_corners(oracle):
    lat, lon = cell_edges(3000, seed=2)
    np.testing.assert_array_equal(s2.cell_ids(lat, lon), oracle.ids(lat, lon))


def test_leaf_ids_equal_s2sphere_on_whole_and_half_degrees(oracle):
    lat, lon = np.meshgrid(np.arange(-90, 90.5, 2.5), np.arange(-180, 180.5, 2.5))
    lat, lon = lat.ravel(), lon.ravel()
    np.testing.assert_array_equal(s2.cell_ids(lat, lon), oracle.ids(lat, lon))


@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(0, 30))
@example(-0.0, -180.0, 30)
@example(5e-324, -5e-324, 30)
def test_ids_equal_s2sphere_on_any_float(lat, lon, level):
    leaf = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(lat, lon))
    assert int(s2.cell_ids(lat, lon, level)[0]) == leaf.parent(level).id()


@pytest.mark.parametrize("ulps", [-4, -1, 1, 4])
def test_ids_do_not_depend_on_how_numpy_rounds_sine_and_cosine(monkeypatch, oracle, ulps):
    """Another processor's vectorised sine may be some ulp off; ids must not show it."""

    class Inaccurate:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def sin(x):
            return np.sin(x) * (1 + ulps * 2.0**-52)

        @staticmethod
        def cos(x):
            return np.cos(x) * (1 - ulps * 2.0**-52)

    parts = [seams(), cell_edges(500, seed=3), random_positions(2000, seed=4)]
    lat, lon = np.concatenate(parts, axis=1)
    monkeypatch.setattr(projection, "np", Inaccurate())
    np.testing.assert_array_equal(s2.cell_ids(lat, lon), oracle.ids(lat, lon))
    monkeypatch.setattr(projection, "EDGE", 0.0)
    assert np.any(s2.cell_ids(lat, lon) != oracle.ids(lat, lon)), "the test could not fail"


def test_ids_of_pieces_are_ids_of_the_whole():
    lat, lon = random_positions(2 * s2.CHUNK + 1)
    one_by_one = [s2.cell_ids(lat[k], lon[k])[0] for k in (0, s2.CHUNK - 1, s2.CHUNK, -1)]
    whole = s2.cell_ids(lat, lon)
    np.testing.assert_array_equal(whole[[0, s2.CHUNK - 1, s2.CHUNK, -1]], one_by_one)
    assert s2.cell_ids([], []).shape == (0,)
    assert whole.dtype == np.uint64


def test_bad_positions_are_counted_and_the_first_is_shown():
    with pytest.raises(ValueError, match=r"2 of 3 .* row 1: lat nan.* \(missing\)"):
        s2.cell_ids([1, np.nan, 95], [2, 3, 10])
    with pytest.raises(ValueError, match="swapped"):
        s2.cell_ids([139.7], [35.7])
    with pytest.raises(ValueError, match="0 to 30, not 31"):
        s2.cell_ids([1.0], [2.0], level=31)


def test_hierarchy_equals_s2sphere():
    cells = some_cells()
    expected = [s2sphere.CellId(int(cell)) for cell in cells]
    np.testing.assert_array_equal(s2.levels(cells), [cell.level() for cell in expected])
    np.testing.assert_array_equal(s2.range_min(cells), [c.range_min().id() for c in expected])
    np.testing.assert_array_equal(s2.range_max(cells), [c.range_max().id() for c in expected])
    inner = [k for k, cell in enumerate(expected) if not cell.is_leaf()]
    children = [[child.id() for child in expected[k].children()] for k in inner]
    np.testing.assert_array_equal(s2.children(cells[inner]), children)
    for level in (0, 1, 7, 29, 30):
        below = [k for k, cell in enumerate(expected) if cell.level() >= level]
        ancestors = [expected[k].parent(level).id() for k in below]
        np.testing.assert_array_equal(s2.parents(cells[below], level), ancestors)


def test_hierarchy_refuses_what_does_not_exist():
    leaf = s2.cell_ids(1, 2)
    with pytest.raises(ValueError, match="has no children"):
        s2.children(leaf)
    with pytest.raises(ValueError, match="level 3 has no parent of level 4"):
        s2.parents(s2.parents(leaf, 3), 4)


def test_tokens_equal_s2sphere_and_come_back():
    cells = some_cells()
    assert s2.tokens(cells).tolist() == [s2sphere.CellId(int(c)).to_token() for c in cells]
    np.testing.assert_array_equal(s2.from_tokens(s2.tokens(cells)), cells)
    assert s2.tokens(cells[:0]).shape == (0,)
    assert s2.from_tokens([]).shape == (0,)


@pytest.mark.parametrize("token", ["", "xyz", "0x1f", "1_0", " 1", "00000000000000001", "F"])
def test_text_that_is_no_token_is_refused(token):
    with pytest.raises(ValueError, match="no S2 token"):
        s2.from_tokens(["4", token])


@pytest.mark.parametrize("token", ["0", "f", "2", "ffffffffffffffff", "0000000000000002"])
def test_tokens_of_no_cell_are_refused(token):
    """No lowest bit, face 7, or a lowest bit at an odd place, which s2sphere calls invalid too."""
    assert not s2sphere.CellId.from_token(token).is_valid()
    with pytest.raises(ValueError, match="1 of 2 ids are no S2 cells"):
        s2.from_tokens(["1", token])


def test_centres_and_corners_equal_s2sphere():
    cells = some_cells()
    lat, lon = s2.centers(cells)
    corners = s2.corners(cells)
    for k, cell in enumerate(cells):
        center = s2sphere.CellId(int(cell)).to_lat_lng()
        expected = [center.lat().degrees, center.lng().degrees]
        assert [lat[k], lon[k]] == pytest.approx(expected, abs=1e-12)
        for n in range(4):
            corner = s2sphere.LatLng.from_point(
                s2sphere.Cell(s2sphere.CellId(int(cell))).get_vertex(n)
            )
            expected = [corner.lat().degrees, corner.lng().degrees]
            assert corners[k, n].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_centre_lies_in_its_cell():
    cells = some_cells(2000)
    lat, lon = s2.centers(cells)
    leaves = s2.cell_ids(lat, lon)
    assert np.all((s2.range_min(cells) <= leaves) & (leaves <= s2.range_max(cells)))


def test_points_on_a_boundary_lie_on_its_great_circle():
    boundary = s2.boundaries(some_cells(31), edge_points=3)
    assert boundary.shape == (31, 12, 2)
    phi, theta = np.radians(boundary[..., 0]), np.radians(boundary[..., 1])
    points = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], -1)
    start, between, end = points[:, 0], points[:, 1], points[:, 3]
    triple = np.einsum("na,na->n", np.cross(start, end), between)
    np.testing.assert_allclose(triple, 0, atol=1e-14)

"""Synthetic panoramas: a picture out of one is the picture that the camera takes."""

import numpy as np
import pytest

from data.panorama import undistort, vertical_fov_deg
from data.panoramas.cut import plain_cut
from data.places import read_places
from data.toy.camera import Pose, photograph
from data.toy.city import make_toy_city
from data.toy.panorama import make_toy_panoramas, panorama
from data.toy.town import build_town


@pytest.fixture(scope="module")
def town():
    return build_town(1, (1, 1))


@pytest.mark.parametrize("heading", [0.0, 45.0, 90.0])
def test_undistorted_it_is_what_the_pinhole_camera_sees(town, heading):
    """Also across a seam (45 degrees); people, cars and noise differ."""
    taken = panorama(town, 0.0, 30.0, 256)
    assert taken.shape == (256, 512, 3)
    ours = undistort(taken, heading, 0, 80, (60, 80)).astype(float)
    theirs = photograph(town, Pose(0.0, 30.0, heading), (60, 80), 80, passers_by=0).astype(float)
    other = photograph(town, Pose(0.0, 30.0, heading + 25), (60, 80), 80, passers_by=0)
    vfov_deg = vertical_fov_deg(80, (60, 80))
    bent = plain_cut(taken, heading, 0, 80, vfov_deg, (60, 80)).astype(float)
    apart, elsewhere, cut = (np.abs(a - theirs).mean() for a in (ours, other, bent))
    assert apart < 0.6 * elsewhere
    assert apart < 0.8 * cut


def test_both_sets_have_the_positions_and_queries_of_the_city(tmp_path):
    blocks, step_m = (1, 1), 70.0
    make_toy_city(tmp_path / "city", blocks, step_m, queries=3, size=(30, 40), seed=2)
    panoramas = tmp_path / "panoramas"
    counts = make_toy_panoramas(
        panoramas, tmp_path / "city", blocks, step_m, size=(30, 40), seed=2, height=64
    )
    assert counts == {"train": 4, "val": 4, "test": 4}
    city = read_places(tmp_path / "city", "val")
    for kind in ("plain", "undistorted"):
        places = read_places(panoramas / kind, "val")
        assert np.array_equal(places.database.utm_m, city.database.utm_m)
        names = [path.name for path in places.queries.paths]
        assert names == [path.name for path in city.queries.paths]
        headings = [path.name.split("@")[9] for path in places.database.paths]
        assert headings == [path.name.split("@")[9] for path in city.database.paths]
    with pytest.raises(ValueError, match="is not empty"):
        make_toy_panoramas(panoramas, tmp_path / "city", blocks, step_m)
    with pytest.raises(ValueError, match="make the city first"):
        make_toy_panoramas(tmp_path / "more", tmp_path / "nothing", blocks, step_m)

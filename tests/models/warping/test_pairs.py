"""Synthetic views against shapely's polygons and against the pictures themselves."""

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon

from models.homography import is_degenerate, warp, whole
from models.warping.pairs import common_quad, random_trapezoids, random_views, render


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_trapezoids_have_vertical_sides_within_k_of_the_edges():
    quads = random_trapezoids(2000, 0.6, generator())
    assert torch.equal(quads[:, 0, 0], quads[:, 3, 0])
    assert torch.equal(quads[:, 1, 0], quads[:, 2, 0])
    share = (quads / whole(2000)).flatten(1)
    assert (share >= 0.4).all()
    assert (share <= 1).all()
    assert share.mean() == pytest.approx(0.7, abs=0.01)
    assert share.amin() < 0.41
    torch.testing.assert_close(random_trapezoids(3, 0.0), whole(3))
    for k in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="k must be 0 or more and below 1"):
            random_trapezoids(1, k)


def test_the_common_quad_is_shapelys_intersection_at_its_left_and_right():
    a, b = (random_trapezoids(300, 0.8, generator(seed)).double() for seed in (1, 2))
    ours, has_more_corners = common_quad(a, b).numpy(), 0
    for one, other, quad in zip(a.numpy(), b.numpy(), ours, strict=True):
        polygon = Polygon(one).intersection(Polygon(other))
        x, y = np.array(polygon.exterior.coords).T
        at_left, at_right = np.isclose(x, x.min()), np.isclose(x, x.max())
        expected = [
            (x.min(), y[at_left].min()),
            (x.max(), y[at_right].min()),
            (x.max(), y[at_right].max()),
            (x.min(), y[at_left].max()),
        ]
        np.testing.assert_allclose(quad, expected, atol=1e-9)
        assert polygon.buffer(1e-9).contains(Polygon(quad))
        if polygon.area - Polygon(quad).area > 1e-6:
            has_more_corners += 1
        else:
            assert polygon.area == pytest.approx(Polygon(quad).area)
    assert 50 < has_more_corners < 300  # both kinds were seen


@pytest.mark.parametrize("k", [0.0, 0.3, 0.6, 0.95])
def test_no_drawn_quad_is_degenerate(k):
    for quads in random_views(500, k, generator()):
        assert not is_degenerate(quads).any()
        assert quads.abs().max() <= 1 + 1e-4


def test_both_views_show_the_same_in_what_they_share():
    """A picture without fine detail: cut from view or from photo, it must be the same."""
    rows, columns = torch.meshgrid(
        torch.linspace(0, 3, 96), torch.linspace(0, 3, 96), indexing="ij"
    )
    photo = torch.stack([rows.sin(), columns.cos(), (rows * columns).sin()]).expand(6, 3, 96, 96)
    views = random_views(6, 0.6, generator(3))
    seen = render(photo, views)
    from_photo = warp(photo, views.common)
    for picture, quads in zip(seen, (views.seen_a, views.seen_b), strict=True):
        difference = (warp(picture, quads) - from_photo)[:, :, 3:-3, 3:-3].abs()
        assert difference.max() < 0.02
    assert (seen[0] - seen[1]).abs().mean() > 0.05  # though the views differ


def test_views_of_k_0_are_the_photo():
    views = random_views(2, 0.0)
    photo = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(views.seen_a, whole(2))
    torch.testing.assert_close(render(photo, views)[1], photo)


def test_draws_are_the_generators():
    first, again, other = (random_views(4, 0.6, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.seen_a, again.seen_a)
    assert not torch.equal(first.seen_a, other.seen_a)

"""Homographies against a closed form, another solver, finite differences and a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.homography import (
    REASONS,
    degeneracy,
    homography,
    is_degenerate,
    project,
    warp,
    whole,
)

WHOLE = whole(1, torch.zeros(1, dtype=torch.float64))


def heckbert(quad):
    """Unit square to quad in closed form: P. Heckbert, "Texture mapping", 1989, section 2.2.3."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    below = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / below, (dx1 * sy - sx * dy1) / below
    return np.array(
        [
            [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
            [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
            [g, h, 1],
        ]
    )


def by_null_space(source, target):
    """The homogeneous DLT: the last right singular vector of the 8 x 9 system."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    return np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)


def same_up_to_scale(a, b):
    a, b = (m / np.linalg.norm(m) for m in (a, b))
    return min(np.abs(a - b).max(), np.abs(a + b).max()) < 1e-9


def random_quads(count, seed=0, far=0.45):
    """Convex: each corner of the whole picture moved by less than half of the way."""
    moved = torch.rand(count, 4, 2, generator=torch.Generator().manual_seed(seed))
    return whole(count, WHOLE) + far * (2 * moved.double() - 1)


def test_the_unit_square_goes_where_heckbert_says():
    square = torch.tensor([[[0, 0], [1, 0], [1, 1], [0, 1]]], dtype=torch.float64)
    quads = random_quads(20)
    ours = homography(square.expand(20, 4, 2), quads)
    for matrix, quad in zip(ours.numpy(), quads.numpy(), strict=True):
        assert same_up_to_scale(matrix, heckbert(quad))


def test_any_quad_goes_where_the_null_space_says():
    sources, targets = random_quads(20, 1), random_quads(20, 2) * 3 + 5
    for i, matrix in enumerate(homography(sources, targets).numpy()):
        assert same_up_to_scale(matrix, by_null_space(sources[i].numpy(), targets[i].numpy()))


def test_a_batch_is_its_rows_and_corners_land_on_corners():
    source, target = random_quads(8, 3), random_quads(8, 4)
    together = homography(source, target)
    alone = torch.cat([homography(source[i : i + 1], target[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(project(together, source), target, rtol=0, atol=1e-12)


def test_the_origin_may_go_to_infinity():
    """A last entry of 1 cannot write this matrix: its vanishing line runs through (0, 0)."""
    source = torch.tensor([[[1, -1], [3, -3], [3, 3], [1, 1]]], dtype=torch.float64)
    matrix = homography(source, WHOLE)
    assert abs(float(matrix[0, 2, 2])) < 1e-12
    torch.testing.assert_close(project(matrix, source), WHOLE)


def test_gradient_is_that_of_finite_differences():
    quads = random_quads(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: homography(whole(2, q), q), quads)
    assert torch.autograd.gradcheck(lambda q: homography(q, whole(2, q)), quads)
    maps = torch.rand(2, 1, 6, 6, dtype=torch.float64).cumsum(2).cumsum(3)
    assert torch.autograd.gradcheck(lambda q: warp(maps, q, (3, 3)), quads, atol=1e-4)


def test_weights_change_rounding_only():
    source, target = random_quads(5, 6), random_quads(5, 7)
    weights = torch.rand(5, 4, dtype=torch.float64) ** 0.1
    torch.testing.assert_close(
        homography(source, target, weights), homography(source, target), rtol=0, atol=1e-10
    )


@given(st.integers(0, 10_000), st.floats(0.01, 0.49))
@settings(max_examples=30, deadline=None)
def test_there_and_back_is_where_one_was(seed, far):
    source, target = random_quads(1, seed, far), random_quads(1, seed + 1, far)
    points = torch.rand(1, 7, 2, dtype=torch.float64) - 0.5
    back = project(homography(target, source), project(homography(source, target), points))
    torch.testing.assert_close(back, points, rtol=0, atol=1e-8)


BAD = {
    "a corner is not a finite number": [[float("nan"), -1], [1, -1], [1, 1], [-1, 1]],
    "three corners lie on one line": [[-1, -1], [0, -1], [1, -1], [-1, 1]],
    "its sides cross": [[-1, -1], [1, 1], [1, -1], [-1, 1]],
    "it is not convex": [[-1, -1], [1, -1], [-0.5, -0.5], [-1, 1]],
    "it is mirrored": [[0.9, -1], [-1, -0.8], [-1, 1], [1, 0.7]],
}


@pytest.mark.parametrize("reason", BAD)
def test_degenerate_quads_are_refused_with_their_reason(reason):
    quads = torch.cat([whole(1), torch.tensor([BAD[reason]])])
    for arguments in ((quads, whole(2)), (whole(2), quads)):
        with pytest.raises(ValueError, match=f"quad 1 of 2: {reason}"):
            homography(*arguments)
    assert [REASONS[i] for i in degeneracy(quads)] == [REASONS[0], reason]


def test_a_point_a_mirrored_quad_and_one_turned_around():
    assert is_degenerate(torch.zeros(1, 4, 2)).all()
    left_for_right, upside_down = whole(1)[:, [1, 0, 3, 2]], whole(1)[:, [3, 2, 1, 0]]
    assert is_degenerate(torch.cat([left_for_right, upside_down])).all()
    assert not is_degenerate(whole(1).roll(2, dims=1)).any()  # half a turn shows all as it is
    assert is_degenerate(torch.empty(0, 4, 2)).shape == (0,)
    with pytest.raises(ValueError, match=r"target must be \(B, 4, 2\)"):
        homography(whole(2), whole(3))


def test_the_mask_is_that_of_a_loop():
    quads = torch.rand(300, 4, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for quad, code in zip(quads.double().numpy(), degeneracy(quads).tolist(), strict=True):
        turns = []
        for i in range(4):
            a, b, c = quad[i], quad[(i + 1) % 4], quad[(i + 2) % 4]
            turns.append((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) > 0)
        assert (code == 0) == (sum(turns) == 4)
        assert (REASONS[code] == "it is mirrored") == (sum(turns) == 0)
        assert (REASONS[code] == "its sides cross") == (sum(turns) == 2)


def test_the_whole_picture_stays_and_a_quarter_is_cut_out():
    picture = torch.rand(1, 2, 8, 6)
    torch.testing.assert_close(warp(picture, whole(1)), picture)
    quarter = torch.tensor([[[-1.0, -1], [0, -1], [0, 0], [-1, 0]]])
    torch.testing.assert_close(warp(picture, quarter, (4, 3)), picture[:, :, :4, :3])


def test_a_warp_is_that_of_a_loop():
    """Bilinear between the middles of pixels, 0 outside, pixel by pixel."""
    quad = random_quads(1, 9)
    matrix = homography(whole(1, quad), quad)[0].numpy()
    picture = np.random.default_rng(0).random((5, 7))
    found = warp(torch.from_numpy(picture)[None, None], quad, (4, 3))[0, 0].numpy()
    padded = np.pad(picture, 50)
    for row in range(4):
        for column in range(3):
            u, v, w = matrix @ [(column + 0.5) / 3 * 2 - 1, (row + 0.5) / 4 * 2 - 1, 1]
            x, y = (u / w + 1) / 2 * 7 - 0.5 + 50, (v / w + 1) / 2 * 5 - 0.5 + 50
            left, top = int(x), int(y)
            cell = padded[top : top + 2, left : left + 2]
            by_x = cell[:, 0] * (1 - x + left) + cell[:, 1] * (x - left)
            assert found[row, column] == pytest.approx(by_x @ [1 - y + top, y - top])

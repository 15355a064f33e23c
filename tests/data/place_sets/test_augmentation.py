"""Augmentation against hand-made cases, Pillow's warp and Python's own colour functions."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from data.night import NIGHTS
from data.place_sets.augmentation import Augmentation, homography, turned_hue


def smooth(height=48, width=64, seed=0):
    """A photo whose neighbouring pixels are alike, so that interpolation hardly matters."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ALL = Augmentation(0.4, 0.4, 0.4, 0.1, 0.5, 0.5, 15.0, 0.5, 0.7)


def test_nothing_asked_for_changes_nothing():
    assert torch.equal(Augmentation()(smooth(), generator()), smooth())


def test_a_seed_gives_the_same_picture_and_another_another():
    first, again, other = (ALL(smooth(), generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == smooth().shape
    assert first.dtype == torch.uint8


def test_flip_mirrors():
    assert torch.equal(Augmentation(flip=1.0)(smooth(), generator()), smooth().flip(-1))


def test_flip_and_erasing_come_as_often_as_asked():
    photo = smooth()
    flips = sum(
        torch.equal(Augmentation(flip=0.3)(photo, generator(i)), photo.flip(-1)) for i in range(300)
    )
    erased = sum(
        not torch.equal(Augmentation(erasing=0.7)(photo, generator(i)), photo) for i in range(300)
    )
    assert flips / 300 == pytest.approx(0.3, abs=0.08)
    assert erased / 300 == pytest.approx(0.7, abs=0.08)


def test_brightness_multiplies():
    photo = smooth() // 2  # half as bright: nothing is clipped
    changed = Augmentation(brightness=0.5)(photo, generator(1)).float()
    factor = changed.sum() / photo.sum()
    assert 0.5 <= factor <= 1.5
    assert abs(factor - 1) > 0.01
    assert (changed - photo.float() * factor).abs().max() < 1


def test_erasing_takes_a_box_of_the_asked_area():
    photo = torch.zeros(3, 100, 100, dtype=torch.uint8)
    for seed in range(20):
        changed = Augmentation(erasing=1.0)(photo, generator(seed)).sum(dim=0) > 0
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert 400 <= height * width <= 900
        assert changed.sum() > 0.95 * height * width
        assert 0.4 <= width / height <= 2.5


def test_a_crop_shows_a_part_enlarged():
    """Pixels hold their own coordinates: the crop's spans give its area."""
    rows, columns = torch.meshgrid(torch.arange(100), torch.arange(200), indexing="ij")
    photo = torch.stack([rows, columns, rows * 0]).to(torch.uint8)
    for seed in range(20):
        changed = Augmentation(resized_crop=0.5)(photo, generator(seed)).int()
        tall = (changed[0].max() - changed[0].min() + 1) / 100
        wide = (changed[1].max() - changed[1].min() + 1) / 200
        assert 0.44 <= tall * wide <= 1.02


def test_rotation_equals_pillows():
    photo = smooth(60, 90)
    draws = torch.rand(24, generator=generator(5)).tolist()
    angle = 20 * (2 * draws[4 + 9] - 1)
    ours = Augmentation(rotation_deg=20.0)(photo, generator(5)).permute(1, 2, 0).numpy()
    picture = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    theirs = [
        np.asarray(picture.rotate(sign * angle, Image.Resampling.BILINEAR)) for sign in (1, -1)
    ]
    inner = (slice(18, 42), slice(27, 63))
    errors = [np.abs(ours[inner].astype(int) - t[inner].astype(int)).mean() for t in theirs]
    assert min(errors) < 2
    assert max(errors) > 4  # the other direction is another picture


def test_a_homography_takes_corners_to_corners():
    source = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    target = torch.tensor([[-0.7, -0.9], [1, -1], [0.8, 0.6], [-1, 0.9]], dtype=torch.float64)
    matrix = homography(source, target)
    moved = torch.cat([source, torch.ones(4, 1, dtype=torch.float64)], dim=1) @ matrix.T
    torch.testing.assert_close(moved[:, :2] / moved[:, 2:], target)


def test_perspective_keeps_to_its_distortion():
    changed = sum(
        not torch.equal(Augmentation(perspective=0.5)(smooth(), generator(i)), smooth())
        for i in range(100)
    )
    assert 35 <= changed <= 65  # half of the photos


def test_perspective_comes_as_often_as_asked():
    changes = Augmentation(perspective=0.5, perspective_p=0.7)
    changed = sum(not torch.equal(changes(smooth(), generator(i)), smooth()) for i in range(200))
    assert changed / 200 == pytest.approx(0.7, abs=0.1)


def test_perspective_crops_or_fills():
    """A white photo stays white where the quad is cropped; filled, the corners turn black."""
    white = torch.full((3, 40, 60), 255, dtype=torch.uint8)
    for seed in range(5):
        cropped, filled = (
            Augmentation(perspective=0.5, perspective_p=1.0, perspective_edges=edges)(
                white, generator(seed)
            )
            for edges in ("crop", "fill")
        )
        assert cropped.min() == 255
        assert filled.min() == 0
        # Each corner of the quad lies at most a quarter of the side inwards: the middle is photo.
        assert filled[:, 12:28, 17:43].min() == 255
        assert (filled == 0).float().mean() < 0.76


def test_filled_perspective_equals_pillows():
    """Pillow's own warp through the quad that the draws give."""
    photo = smooth(60, 90)
    draws = torch.rand(24, generator=generator(4)).tolist()
    ours = Augmentation(perspective=0.5, perspective_p=1.0, perspective_edges="fill")(
        photo, generator(4)
    )
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    quad = corners * (1 - 0.5 * np.array(draws[5:13]).reshape(4, 2))
    to_px = np.array([45.0, 30.0])
    rows, right = [], []
    for (u, v), (x, y) in zip(corners * to_px + to_px, quad * to_px + to_px, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    picture = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    theirs = picture.transform(
        (90, 60),
        Image.Transform.PERSPECTIVE,
        np.linalg.solve(rows, right),
        Image.Resampling.BILINEAR,
    )
    theirs = torch.from_numpy(np.asarray(theirs).copy()).permute(2, 0, 1)
    difference = (ours.float() - theirs.float()).abs()
    assert difference[:, 16:44, 24:66].max() <= 2  # inside; Pillow cuts the quad's edge hard
    assert difference.mean() < 2


@pytest.mark.parametrize("name", NIGHTS)
def test_night_comes_as_often_as_asked_and_changes_nothing_else(name):
    photo = smooth()
    changes = Augmentation(flip=0.5, night=name, night_p=0.3)
    dark = 0
    for seed in range(100):
        plain = Augmentation(flip=0.5)(photo, generator(seed))
        changed = changes(photo, generator(seed))
        dark += not torch.equal(plain, changed)
        assert torch.equal(changed, changes(photo, generator(seed)))
    assert dark / 100 == pytest.approx(0.3, abs=0.14)
    of_night = Augmentation(night=name, night_p=1.0)(photo, generator())
    assert of_night.float().mean() < photo.float().mean()


def test_hue_turns_and_keeps_grey_and_brightness():
    grey = torch.full((3, 2, 2), 0.4)
    torch.testing.assert_close(turned_hue(grey, 0.3), grey, atol=1e-5, rtol=0)
    colour = torch.tensor([0.6, 0.4, 0.3]).view(3, 1, 1)
    turned = turned_hue(colour, 1 / 3)[:, 0, 0].tolist()
    assert colorsys.rgb_to_yiq(*turned)[0] == pytest.approx(
        colorsys.rgb_to_yiq(0.6, 0.4, 0.3)[0], abs=1e-4
    )
    back = turned_hue(turned_hue(colour, 0.1), -0.1)
    torch.testing.assert_close(back, colour, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"hue": 0.6},
        {"flip": 1.1},
        {"brightness": -1},
        {"erased": (0.5, 0.1)},
        {"night_p": 1.1},
        {"night": "dusk"},
        {"perspective_p": -0.1},
        {"perspective_edges": "mirror"},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="must"):
        Augmentation(**changes)

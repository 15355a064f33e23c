"""Crops as items: what the data set feeds is what models/crops.py cuts."""

import pytest
import torch

from models.crop_transform import CropTransform
from models.crops import views


@pytest.fixture
def picture():
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=generator)
    return rgb, torch.randint(0, 6, (60, 90), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [5, 10])
def test_photo_and_map_are_cut_alike(count, picture):
    rgb, seg = picture
    found_rgb, found_seg = CropTransform(32, count)(rgb, seg)
    expected = views(rgb[None], seg[None], 32, mirror=count == 10)
    assert found_rgb.shape == (count, 3, 32, 32)
    assert torch.equal(found_rgb, expected.rgb[0])
    assert torch.equal(found_seg, expected.seg[0])
    assert CropTransform(32, count)(rgb)[1] is None


def test_a_batch_of_readable_and_unreadable(picture):
    transform = CropTransform(32, 5)
    rgb, seg = transform(*picture)
    black, nothing = (
        torch.zeros(3, 32, 32, dtype=torch.uint8),
        torch.zeros(32, 32, dtype=torch.uint8),
    )
    items = [
        {"rgb": rgb, "seg": seg, "key": "a"},
        {"rgb": black, "seg": nothing, "key": "b"},
        {"rgb": rgb, "seg": nothing, "key": "c"},
    ]
    batch = transform.collate(items)
    assert batch["rgb"].shape == (3, 5, 3, 32, 32)
    assert batch["seg"].shape == (3, 5, 32, 32)
    assert torch.equal(batch["seg"][0], seg)
    assert not batch["rgb"][1].any()
    assert batch["key"] == ["a", "b", "c"]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_other_counts_are_refused(count):
    with pytest.raises(ValueError, match="one of 1, 5, 10"):
        CropTransform(32, count)

"""Photos read ahead come in order; one that cannot be read is grey, named, and stops nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.place_sets.photos import GREY, PlacePhotos, resized


@pytest.fixture
def paths(tmp_path):
    """Seven photos of plain grey 10, 20, ...; the fourth is half a file."""
    found = []
    for number in range(7):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(np.full((40, 60, 3), 10 * number + 10, np.uint8)).save(path, quality=95)
        found.append(path)
    found[3].write_bytes(found[3].read_bytes()[:200])
    return found


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("batch", [1, 2, 7, 50])
def test_batches_hold_what_was_asked_for_in_order(paths, workers, batch):
    photos = PlacePhotos(paths, (20, 30))
    asked = [6, 0, 0, 5, 2]
    rows, greys = [], []
    for members, pictures in photos.batches(asked, batch, workers):
        assert pictures.dtype == torch.uint8
        assert pictures.shape == (len(members), 3, 20, 30)
        assert len(members) <= batch
        rows += members
        greys += pictures.float().mean(dim=(1, 2, 3)).tolist()
    assert rows == asked
    assert greys == pytest.approx([10 * row + 10 for row in asked], abs=1)
    assert not photos.refused


def test_an_unreadable_photo_is_grey_and_named(paths):
    photos = PlacePhotos(paths, (20, 30))
    missing = PlacePhotos([paths[0].with_name("none.jpg")], (20, 30))
    pictures = torch.cat([found for _, found in photos.batches(range(7), 2)])
    assert (pictures[3] == GREY).all()
    assert list(photos.refused) == [str(paths[3])]
    assert [photos.is_readable(row) for row in range(7)] == [row != 3 for row in range(7)]
    assert (missing[0] == GREY).all()
    assert not missing.is_readable(0)


def test_photos_of_many_shapes_end_a_batch(tmp_path):
    shapes = [(40, 60), (40, 60), (60, 40), (40, 60)]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, shape in zip(paths, shapes, strict=True):
        Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(path)
    photos = PlacePhotos(paths, (20, 20), lambda rgb: rgb[None])
    found = [(members, tuple(p.shape[2:])) for members, p in photos.batches(range(4), 4)]
    assert found == [([0, 1], (40, 60)), ([2], (60, 40)), ([3], (40, 60))]


def test_resizing_is_pillows_antialiased_bilinear():
    rgb = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    ours = resized(rgb, (20, 33)).permute(1, 2, 0).numpy().astype(int)
    picture = Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())
    theirs = np.asarray(picture.resize((33, 20), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert torch.equal(resized(rgb, (50, 70)), rgb)

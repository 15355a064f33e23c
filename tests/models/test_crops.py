"""Crops against torchvision and a loop; averages against loops."""

import math

import pytest
import torch

import models.torchvision_cure  # noqa: F401  isort: skip  (before torchvision)
import torchvision.transforms.functional as tv

from data.transforms import Box, crop, resize_map, resize_photo
from models.crops import (
    averaged,
    crop_boxes,
    five_crops,
    predict_views,
    ten_crops,
    views,
)
from models.geocell_vit import Prediction

SIZE = 32


def pictures(count, height, width, channels=(3,)):
    generator = torch.Generator().manual_seed(0)
    shape = (count, *channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (64, 48), (41, 90)])
def test_where_nothing_is_resized_they_are_torchvisions(height, width):
    photos = pictures(2, height, width)
    ours = five_crops(photos, SIZE, share=SIZE / min(height, width))
    theirs = torch.stack(tv.five_crop(photos, [SIZE, SIZE]), dim=1)
    assert torch.equal(ours, theirs)
    ten = ten_crops(photos, SIZE, share=SIZE / min(height, width))
    expected = torch.stack(tv.ten_crop(photos, [SIZE, SIZE]), dim=1)
    # Theirs are cut from the mirrored photo: left and right corners come in the other order.
    assert torch.equal(ten[:, :5], expected[:, :5])
    assert torch.equal(ten[:, [6, 5, 8, 7]], expected[:, 5:9])


@pytest.mark.parametrize(("height", "width"), [(100, 75), (37, 300), (20, 20), (1, 3)])
def test_a_batch_is_each_crop_of_each_photo_resized_alone(height, width):
    photos = pictures(3, height, width)
    ours = five_crops(photos, SIZE, 0.9)
    for row, photo in enumerate(photos):
        for column, box in enumerate(crop_boxes(height, width, 0.9)):
            assert torch.equal(ours[row, column], resize_photo(crop(photo, box), SIZE))


def test_boxes_lie_inside_and_touch_the_corners():
    boxes = crop_boxes(80, 120, 0.75)
    assert boxes[:4] == [
        Box(0, 0, 60, 60),
        Box(0, 60, 60, 60),
        Box(20, 0, 60, 60),
        Box(20, 60, 60, 60),
    ]
    assert boxes[4] == Box(10, 30, 60, 60)
    assert len(set(crop_boxes(50, 50, 1.0))) == 1
    for share in (0, -1, 1.01, math.nan):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
            crop_boxes(50, 50, share)


def test_maps_are_cut_where_photos_are():
    photos, maps = pictures(2, 60, 90), pictures(2, 60, 90, channels=())
    cut = views(photos, maps, SIZE, mirror=True)
    assert torch.equal(cut.rgb, ten_crops(photos, SIZE))
    for row in range(2):
        for column, box in enumerate(crop_boxes(60, 90)):
            expected = resize_map(crop(maps[row], box), SIZE)
            assert torch.equal(cut.seg[row, column], expected)
            assert torch.equal(cut.seg[row, column + 5], expected.flip(-1))
    assert not views(photos, None, SIZE).seg.any()
    assert views(photos[:0], maps[:0], SIZE).seg.shape == (0, 5, SIZE, SIZE)
    with pytest.raises(ValueError, match="not those of photos"):
        views(photos, maps[:, 1:], SIZE)


@pytest.mark.parametrize("average", ["probability", "logits"])
@pytest.mark.parametrize("inputs", ["rgb", "both"])
def test_a_batch_equals_a_loop_over_its_crops(build, average, inputs):
    model, has_seg = build(inputs), torch.tensor([True, False, True])
    cut = views(pictures(3, 48, 64), pictures(3, 48, 64, channels=()) % 6, SIZE, mirror=True)
    with torch.inference_mode():
        ours = predict_views(model, cut, has_seg, average)
        for row in range(3):
            alone = [
                model(cut.rgb[row, k][None], cut.seg[row, k][None], has_seg[row][None])
                for k in range(10)
            ]
            for level, logits in ours.cells.items():
                crops = torch.stack([one.cells[level][0] for one in alone])
                expected = (
                    crops.mean(dim=0)
                    if average == "logits"
                    else torch.stack([c.softmax(0) for c in crops]).mean(dim=0).log()
                )
                torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-5)
            total = torch.stack([one.descriptor[0] for one in alone]).sum(dim=0)
            torch.testing.assert_close(
                ours.descriptor[row], total / total.norm(), rtol=1e-4, atol=1e-5
            )


def test_averages_match_loops_and_keep_their_meaning():
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 4.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    prediction = Prediction({"fine": logits}, logits, torch.eye(4))
    ours = averaged(prediction, 2)
    for row in range(2):
        for cell in range(3):
            chance = [
                math.exp(z[cell]) / sum(map(math.exp, z))
                for z in logits[2 * row : 2 * row + 2].tolist()
            ]
            assert ours.cells["fine"][row, cell].item() == pytest.approx(math.log(sum(chance) / 2))
    torch.testing.assert_close(ours.cells["fine"].exp().sum(dim=1), torch.ones(2))
    geometric = averaged(prediction, 2, "logits")
    assert geometric.scene.tolist() == [[2.5, 2.0, 0.0], [1.5, 0.5, 1.0]]
    with pytest.raises(ValueError, match="average must be one of probability, logits"):
        averaged(prediction, 2, "max")


def test_one_crop_is_the_prediction_itself_and_logits_stay_finite():
    logits = torch.tensor([[800.0, -800.0], [0.0, 1.0]])
    prediction = Prediction({"fine": logits}, logits, torch.eye(2))
    same = averaged(prediction, 1)
    torch.testing.assert_close(same.cells["fine"], logits.log_softmax(dim=1))
    assert torch.isfinite(averaged(prediction, 2).cells["fine"]).all()
    assert averaged(prediction, 2).cells["fine"].shape == (1, 2)

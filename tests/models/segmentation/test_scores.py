"""Scores to maps, against plain interpolation of every class."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from models.segmentation.scores import class_map, class_scores, possible_winners


def scenes(classes=40, height=32, width=24, seed=0, shown=6):
    """Scores in which `shown` classes are far above the others, as in a photo."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(classes, height // 4, width // 4, generator=generator)
    scores = functional.interpolate(scores[None], (height, width), mode="bicubic")[0]
    scores[torch.randperm(classes, generator=generator)[shown:]] -= 8
    return scores


def plain(scores, height, width):
    """The definition: interpolate all classes, take the best."""
    full = functional.interpolate(scores[None], (height, width), mode="bilinear")[0]
    return full.argmax(0)


@pytest.mark.parametrize(("height", "width"), [(101, 77), (32, 24), (9, 5), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_interpolating_every_class(height, width, seed):
    scores = scenes(seed=seed)
    drawn = class_map(scores, height, width)
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn.long(), plain(scores, height, width))


def test_close_scores_and_ties_go_as_they_do_in_plain_interpolation():
    scores = scenes(shown=40).round()  # many exact ties
    assert torch.equal(class_map(scores, 53, 61).long(), plain(scores, 53, 61))


def test_blocks_of_classes_change_nothing(monkeypatch):
    scores = scenes(shown=40)
    whole = class_map(scores, 50, 40)
    monkeypatch.setattr("models.segmentation.scores.BLOCK_VALUES", 50 * 40 * 3)
    assert torch.equal(class_map(scores, 50, 40), whole)


def test_classes_that_cannot_win_are_left_out():
    winners = possible_winners(scenes(shown=6))
    assert set(plain(scenes(shown=6), 200, 200).unique().tolist()) <= set(winners.tolist())
    assert len(winners) <= 6 < 40


@pytest.mark.parametrize("shape", [(5, 1, 1), (5, 1, 7), (5, 7, 1)])
def test_a_grid_of_one_row_or_column(shape):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(class_map(scores, 6, 9).long(), plain(scores, 6, 9))


def test_scores_that_are_no_numbers_are_an_error():
    scores = scenes()
    scores[3, 4, 5] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        class_map(scores, 10, 10)


def test_masks_and_their_classes_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(2, 3, 4, 5, generator=generator)
    classes = torch.randn(2, 3, 7, generator=generator)  # six and "nothing"

    class Outputs(SimpleNamespace):
        def __contains__(self, name):
            return hasattr(self, name)

    outputs = Outputs(masks_queries_logits=masks, class_queries_logits=classes)
    scores = class_scores(outputs, 1, "maskformer")
    assert scores.shape == (6, 4, 5)
    for c in range(6):
        expected = sum(classes[1, q].softmax(0)[c] * masks[1, q].sigmoid() for q in range(3))
        assert torch.allclose(scores[c], expected, atol=1e-6)

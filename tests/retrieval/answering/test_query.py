"""The photo that is asked about, as whoever asks has it."""

import numpy as np
import pytest
import torch

from retrieval.answering.query import Query


def test_pixels_of_any_memory_layout_are_taken():
    """OpenCV's blue first, turned round, is a view that runs backwards."""
    bgr = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    pixels = Query.of(bgr[..., ::-1]).pixels()
    assert torch.from_numpy(pixels)[0, 0].tolist() == [2, 1, 0]


@pytest.mark.parametrize("pixels", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3))])
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="must be uint8"):
        Query.of(pixels)

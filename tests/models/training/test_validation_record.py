"""The record of validation photos that calibration is fitted to."""

import numpy as np
import torch

from models.training.validation_record import ValidationRecord


def test_it_keeps_the_usable_photos(build, photos, partition):
    rgb, seg, has_seg = photos
    cells = torch.stack([torch.arange(8) % len(level) for level in partition.levels.values()], 1)
    lat = torch.linspace(-50, 50, 8, dtype=torch.float64)
    batch = {"cells": cells, "lat": lat, "lon": -lat}
    record = ValidationRecord()
    with torch.inference_mode():
        prediction = build("seg")(rgb, seg, has_seg)
    for _ in range(2):
        record.add(prediction, batch, has_seg, finest=2)
    logits, kept, positions = record.joined()
    rows = [0, 2, 4, 6] * 2
    np.testing.assert_array_equal(logits["fine"], prediction.cells["fine"].numpy()[rows])
    np.testing.assert_array_equal(kept, cells[rows, 2].numpy())
    np.testing.assert_array_equal(positions, np.stack([lat, -lat], 1)[rows])

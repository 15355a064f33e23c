"""Run a trained model over validation photos and fit its calibration."""

from collections.abc import Iterable

import torch

from models.decode import ancestors
from models.evaluation.calibration import Calibration, Validation, fit_calibration
from models.training.geocell_task import Batch, GeocellTask, ValidationRecord
from partitioning.partition import LEVELS


@torch.inference_mode()
def calibrate(task: GeocellTask, batches: Iterable[Batch], per_level: bool = False) -> Calibration:
    """Predict all usable photos of `batches` with `task`'s model and fit a `Calibration`.

    With no photos the result is the uncalibrated default, which says so (`photos` = 0). `per_level`
    fits one temperature a level in place of one for all.
    """
    model = task.model.eval()
    device = next(model.parameters()).device
    record = ValidationRecord()
    for batch in batches:
        prediction = model(*(batch[name].to(device) for name in ("rgb", "seg", "has_seg")))
        record.add(prediction, batch, task.usable(batch), LEVELS.index(task.levels[-1]))
    if not record.cells:
        return Calibration()
    logits, cells, positions = record.joined()
    errors_km = task.errors_km(logits, positions)
    lineage = ancestors(task.partition, task.levels)
    return fit_calibration([Validation(logits, lineage, cells, errors_km)], per_level)

"""Lightning's progress bar without what tells a user nothing, and its chatter turned down."""

import logging
import warnings
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """One bar an epoch, kept, with the loss and the validation shares."""

    def __init__(self) -> None:
        # Reading a figure makes a GPU's queue run dry: not after every batch.
        super().__init__(refresh_rate=5, leave=True)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Any:
        """Leave out the logger's version number."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


def quiet() -> None:
    """Silence messages that no user can act on; warnings about the data stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*treespec.*", category=UserWarning)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*axis name: batch will not be used.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    # a frozen backbone and the averaged weights are meant to be
    warnings.filterwarnings("ignore", message=".*module.s. in eval mode at the start of training.*")
    # what is logged is the same on all ranks already (models/training/tally.py)
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")

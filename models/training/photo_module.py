"""Shards as Lightning sees them: train and validation loaders, the partition, state to resume."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
import torch

from data.index import Index
from data.sampler import ResumableSampler
from data.sharding.remote_folder import NotThereError, RemoteFolder
from data.stream import PhotoLoader, PhotoStream, batches, order_for
from data.transforms import EvalTransform, PairedTransform, TrainTransform
from partitioning import partition as partition_file
from partitioning.atomic_file import atomic_path
from partitioning.partition import Partition, build_partition

CELLS = "cells.parquet"


class OnceEach:
    """Validation batches that say which of their photos count: bool `(B,)` under "counts".

    Every rank has equally many photos: where they do not divide, the last ranks' last photo is one
    that another rank has judged already (see `ResumableSampler`).
    """

    def __init__(self, loader: PhotoLoader) -> None:
        self.loader = loader
        sampler = loader.batch_sampler
        rounds = -(-sampler.num_samples // sampler.world_size)
        self.ends_in_repeat = (
            rounds - 1
        ) * sampler.world_size + sampler.rank >= sampler.num_samples

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, batch in enumerate(self.loader):
            batch["counts"] = torch.ones(len(batch["key"]), dtype=torch.bool)
            batch["counts"][-1] = not (self.ends_in_repeat and number == len(self) - 1)
            yield batch


class PhotoModule(pl.LightningDataModule):
    """Training and validation photos of a data directory.

    Args:
        data: directory with shards in train/ and val/, or its URL; its cells.parquet is used if it
            is there.
        thresholds: (t_min, t_max) of each level, for a partition cut from the training photos.
        img_size: side of the model's input, px.
        batch_size: photos in a batch.
        scene_of_interest: 0 indoor, 1 natural, 2 urban, 3 all.
        min_scale: least share of the area that a training crop keeps.
        jitter: strength of the colour augmentation.
        use_seg: whether to read segmentation maps.
        workers: loader processes.
        seed: of order and augmentation.
        pin_memory: have batches in memory that a GPU copies from at once.
    """

    partition: Partition
    num_train: int
    num_val: int

    def __init__(
        self,
        data: Path | str,
        thresholds: dict[str, tuple[int, ...]],
        img_size: int,
        batch_size: int,
        scene_of_interest: int = 3,
        min_scale: float = 0.3,
        jitter: float = 0.2,
        use_seg: bool = True,
        workers: int = 2,
        seed: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.data = data
        self.thresholds = {level: (t[0], t[1]) for level, t in thresholds.items()}
        self.train_transform = TrainTransform(img_size, (min_scale, 1.0), jitter=jitter)
        self.val_transform = EvalTransform(img_size)
        self.batch_size = batch_size
        self.scene_of_interest = scene_of_interest
        self.use_seg = use_seg
        self.workers = workers
        self.seed = seed
        self.pin_memory = pin_memory
        self._resume: dict[str, int | bool] | None = None
        self._train_loader: PhotoLoader | None = None

    def setup(self, stage: str) -> None:
        """Open the shards and read or cut the partition; a second call changes nothing.

        Raises:
            ValueError: no shards, no training or validation photo, or none in a cell.
        """
        if hasattr(self, "train_stream"):
            return
        train = self._opened("train")
        self.partition = self._partition(train)
        self.train_stream = self._stream(train, self.train_transform)
        if (self.train_stream.cells < 0).all():
            raise ValueError(
                f"no training photo lies in a cell of {self.data}/cells.parquet: it is another "
                "data set's; remove it to have the cells cut from these photos"
            )
        self.open_val_stream()
        self.num_train, self.num_val = len(self.train_stream), len(self.val_stream)

    def open_val_stream(self) -> None:
        """Open the validation photos.

        Raises:
            ValueError: there is none.
        """
        self.val_stream = self._stream(self._opened("val"), self.val_transform)

    def _opened(self, name: str) -> Index:
        location = f"{self.data}/{name}"
        way_out = "--data needs train/ and val/, made by `python -m setup.build_shards`"
        if "://" not in location and not Path(location).is_dir():
            raise ValueError(f"no shards in {location}: {way_out}")
        index = Index.open(location)
        if not len(index):
            raise ValueError(f"no photo in the shards of {location}: {way_out}")
        return index

    def _partition(self, train: Index) -> Partition:
        path = _cells_beside(self.data, train)
        if path.is_file():
            return partition_file.load(path)
        return build_partition(train.lat, train.lon, self.thresholds)

    def _stream(self, index: Index, transform: PairedTransform) -> PhotoStream:
        return PhotoStream(
            index,
            self.partition,
            transform,
            seed=self.seed,
            use_seg=self.use_seg,
            scene_of_interest=self.scene_of_interest,
        )

    def describe(self) -> str:
        """One line for the user: photos, photos in no cell, scene labels, maps, cells."""
        outside = int((self.train_stream.cells[:, -1] < 0).sum())
        cells = ", ".join(f"{len(c)} {level}" for level, c in self.partition.levels.items())
        return (
            f"data: {self.num_train} training photos ({outside} in no fine cell, "
            f"{self.num_scenes} with a scene, {self.num_maps} with a segmentation map), "
            f"{self.num_val} validation photos; cells: {cells}"
        )

    @property
    def num_scenes(self) -> int:
        """Training photos with a scene label."""
        return int((self.train_stream.scene >= 0).sum())

    @property
    def num_maps(self) -> int:
        """Training photos with a segmentation map."""
        return int(self.train_stream.index.has_seg[self.train_stream.rows].sum())

    def train_dataloader(self) -> PhotoLoader:
        """Every training photo once an epoch; a last batch that is not full is left out."""
        enough = self.num_train >= self.batch_size * self._world_size
        sampler = order_for(
            self.train_stream,
            self.batch_size,
            seed=self.seed,
            rank=self._rank,
            world_size=self._world_size,
            drop_last=enough,
        )
        if self._resume is not None:
            sampler.load_state_dict(self._resume)
        self._train_loader = self._batches(self.train_stream, sampler)
        return self._train_loader

    def whole_val_dataloader(self) -> PhotoLoader:
        """Every validation photo once, on this process alone."""
        sampler = ResumableSampler(self.num_val, self.batch_size, shuffle=False)
        return self._batches(self.val_stream, sampler)

    def val_dataloader(self) -> "OnceEach":
        """This rank's share of the validation photos, in order."""
        sampler = ResumableSampler(
            self.num_val,
            self.batch_size,
            0,
            self._rank,
            self._world_size,
            shuffle=False,
        )
        return OnceEach(self._batches(self.val_stream, sampler))

    def _batches(self, stream: PhotoStream, sampler: ResumableSampler) -> PhotoLoader:
        return batches(stream, sampler, self.workers, pin_memory=self.pin_memory)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def undecodable(self) -> dict[str, str]:
        """Training photos that could not be decoded, and why."""
        return self._train_loader.undecodable if self._train_loader else {}

    def state_dict(self) -> dict[str, Any]:
        """Where the training stream stands."""
        return self._train_loader.batch_sampler.state_dict() if self._train_loader else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there."""
        self._resume = state_dict
        if self._train_loader:
            self._train_loader.batch_sampler.load_state_dict(state_dict)


def _cells_beside(data: Path | str, train: Index) -> Path:
    """Where the partition of a data directory lies here; a remote one's is fetched, if there."""
    if "://" not in str(data):
        return Path(data) / CELLS
    folder, path = RemoteFolder(str(data)), train.directory / CELLS
    try:
        with atomic_path(path) as part:
            folder.tried(CELLS, lambda: folder.copy(CELLS, part))
    except NotThereError:
        path.unlink(missing_ok=True)
    return path

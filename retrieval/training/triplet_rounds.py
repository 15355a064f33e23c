"""What a training of place recognition learns from: a round is one mining and its triplets.

At the start of each round the miner asks for descriptors as the model makes them now. Everything
drawn at random is a function of seed, round and triplet, or of the miner's state, which lies in the
checkpoint: a run that goes on from the start of a round is the run that was never stopped.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from data.place_sets.augmentation import Augmentation
from data.place_sets.names import PlaceName
from data.place_sets.photos import PlacePhotos, Rows
from data.places import Photos, Places
from models.places.embedder import Embedder
from retrieval.bars import bar
from retrieval.descriptor_cache import Descriptors, Engine, describe_shared
from retrieval.training.mining import Miner, MiningSettings, Triplets, rarity_weights

READ_AHEAD = 2  # batches
RARE = ("night", "sideways")  # words of a note that make a query rare, in MSLS


class TripletBatch(NamedTuple):
    """Queries with their positive and negatives.

    Attributes:
        pictures: uint8 `(B, 2 + N, 3, H, W)`: query, positive, negatives.
        is_readable: `(B,)`; where False one of the photos could not be read.
    """

    pictures: Tensor
    is_readable: Tensor


class TripletBatches:
    """The triplets of one round, in batches, read ahead by threads.

    Args:
        triplets: Of this process.
        queries: Their photos.
        database: Likewise.
        augmentation: Of the queries.
        seeds: One for each triplet.
        batch: Triplets at a time; what does not fill a batch is left out.
        workers: Threads.
    """

    def __init__(
        self,
        triplets: Triplets,
        queries: PlacePhotos,
        database: PlacePhotos,
        augmentation: Augmentation,
        seeds: list[int],
        batch: int,
        workers: int,
    ) -> None:
        self.triplets, self.queries, self.database = triplets, queries, database
        self.augmentation, self.seeds = augmentation, seeds
        self.batch, self.workers = batch, workers

    def __len__(self) -> int:
        return len(self.triplets.queries) // self.batch

    def __iter__(self) -> Iterator[TripletBatch]:
        """Yield the batches in order."""
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            members = [range(i * self.batch, (i + 1) * self.batch) for i in range(len(self))]
            waiting = []
            for following in [*members, *[None] * READ_AHEAD]:
                if following is not None:
                    waiting.append([pool.submit(self.pictures, number) for number in following])
                if waiting and (len(waiting) > READ_AHEAD or following is None):
                    read = [future.result() for future in waiting.pop(0)]
                    yield TripletBatch(
                        torch.stack([pictures for pictures, _ in read]),
                        torch.tensor([is_readable for _, is_readable in read]),
                    )

    def pictures(self, number: int) -> tuple[Tensor, bool]:
        """Query, positive and negatives of one triplet `(2 + N, 3, H, W)`; whether all are read."""
        query = int(self.triplets.queries[number])
        others = [int(self.triplets.positives[number]), *self.triplets.negatives[number].tolist()]
        generator = torch.Generator().manual_seed(self.seeds[number])
        first = self.augmentation(self.queries[query][0], generator)
        pictures = torch.stack([first, *(self.database[row][0] for row in others)])
        is_readable = self.queries.is_readable(query)
        return pictures, is_readable and all(self.database.is_readable(row) for row in others)


class TripletRounds(pl.LightningDataModule):
    """Mines at the start of each epoch of Lightning's, which is a round here.

    Args:
        places: The training set.
        embedder: The model that is trained.
        mining: How.
        size: Of the photos, px.
        augmentation: Of the queries.
        engine: How photos are described.
        batch: Queries a step.
        seed: Of everything.

    Raises:
        ValueError: as `Miner`.
    """

    def __init__(
        self,
        places: Places,
        embedder: Embedder,
        mining: MiningSettings,
        size: tuple[int, int],
        augmentation: Augmentation,
        engine: Engine,
        batch: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.embedder, self.engine, self.seed, self.batch = embedder, engine, seed, batch
        self.augmentation = augmentation
        self.queries = PlacePhotos(places.queries.paths, size)
        self.database = PlacePhotos(places.database.paths, size)
        weights = query_weights(places.queries) if mining.method == "msls_weighted" else None
        self.miner = Miner(places, mining, seed, weights)
        self._mined: tuple[int, TripletBatches] | None = None

    def train_dataloader(self) -> TripletBatches:
        """The triplets of the round that comes."""
        assert self.trainer is not None
        # Not current_epoch, which a resumed trainer counts up only after it has asked once.
        round_: int = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        if self._mined is None or self._mined[0] != round_:
            self._mined = (round_, self._mine(round_))
        return self._mined[1]

    def _mine(self, round_: int) -> TripletBatches:
        """Mine; all processes mine the same and each takes its share."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        self.engine = self.engine._replace(device=self.trainer.strategy.root_device)
        triplets = self.miner.mine(
            lambda rows: self._describe(self.queries, rows, "queries"),
            lambda rows: self._describe(self.database, rows, "database"),
        )
        torch.manual_seed(self.seed + 1_000_003 * round_)  # of dropout, where a backbone has it
        count = len(triplets.queries) // (world * self.batch) * world * self.batch
        if not count:
            raise ValueError(
                f"{len(triplets.queries)} queries do not fill a batch of {world} x {self.batch}; "
                "take a smaller --train_batch or more queries"
            )
        own = np.arange(count)[rank::world]
        seeds = [int(s) for s in np.random.SeedSequence((self.seed, round_)).generate_state(count)]
        return TripletBatches(
            Triplets(*(column[own] for column in triplets)), self.queries, self.database,
            self.augmentation, [seeds[i] for i in own], self.batch, self.engine.workers,
        )  # fmt: skip

    def _describe(self, photos: PlacePhotos, rows: Rows, what: str) -> Descriptors:
        assert self.trainer is not None
        with bar(f"mining: {what}", len(rows), self.trainer.is_global_zero) as on_done:
            return describe_shared(self.embedder, photos, rows, self.engine, on_done)

    @property
    def refused(self) -> dict[str, str]:
        """Photos that could not be read, and why."""
        return self.queries.refused | self.database.refused

    def state_dict(self) -> dict[str, Any]:
        """The miner's state after the round's mining."""
        hardest = {str(query): rows.tolist() for query, rows in self.miner.hardest.items()}
        # Text: the state's numbers have 128 bits.
        return {"random": json.dumps(self.miner.random.bit_generator.state), "hardest": hardest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.miner.random.bit_generator.state = json.loads(state_dict["random"])
        self.miner.hardest = {
            int(query): np.array(rows, np.int64) for query, rows in state_dict["hardest"].items()
        }


def query_weights(queries: Photos) -> np.ndarray:
    """Weights of queries by the words night and sideways in their names' notes."""
    notes = [PlaceName.parse(path.name).note.split("_") for path in queries.paths]
    groups = [np.array([word in note for note in notes]) for word in RARE]
    if not any(group.any() for group in groups):
        sys.stderr.write(
            f"warning: --mining msls_weighted: no query has {' or '.join(RARE)} in the note of its "
            "name (its last field): all are drawn alike, as --mining partial draws them\n"
        )
    return rarity_weights(groups)

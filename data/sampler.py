"""The order of samples over epochs, ranks and restarts, as a function of a seed and a position.

Nothing is drawn from a running random state: epoch e's order depends on (seed, e) alone, so
"where were we" is two numbers, and a resumed run sees the batches it would have seen. The orders:
data/sample_order.py.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from data.sample_order import Order, block_order, dealt, fingerprint, full_order

SHARDS_AT_A_TIME = 16  # 16,000 samples of our shards to draw a batch from

# What an order depends on, besides the rank.
SETTINGS = (
    "num_samples",
    "batch_size",
    "seed",
    "world_size",
    "drop_last",
    "shuffle",
    "shards_at_a_time",
    "sharding",
)


class Pick(NamedTuple):
    """One sample to load: its epoch, which seeds its augmentation, and its number."""

    epoch: int
    sample: int


class ResumableSampler(Sampler[list[Pick]]):
    """Batches of picks; every sample once an epoch, equally many batches on every rank.

    Where the samples do not divide among the ranks, the first few of the epoch's order are seen
    again at its end (fewer than `world_size`), or, with `drop_last`, the last ones are left out
    that epoch (fewer than `world_size * batch_size`). All ranks' batches are equally long.

    Iterating goes from the last batch that `advance` has counted to the end of its epoch. The
    loader of `data.stream.batches` counts a batch when it hands it out, not when a worker
    begins to load it ahead, so neither that nor the number of workers is part of the state.

    Args:
        num_samples: Number of samples, on all ranks together.
        batch_size: Samples in a batch, on one rank.
        seed: Of the order.
        rank: This process's number.
        world_size: Number of processes.
        drop_last: Leave out a last batch that is not full.
        shuffle: Draw a new order each epoch; without it, samples come in their own order.
        shard_of: The shard of each sample `(num_samples,)`. If given, samples are shuffled within
            blocks of shards only, and each rank keeps to its own shards: for remote ones.
        shards_at_a_time: Shards in a block.

    Raises:
        ValueError: a number is out of range, or there are too few samples for one batch.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        shuffle: bool = True,
        shard_of: NDArray | None = None,
        shards_at_a_time: int = SHARDS_AT_A_TIME,
    ) -> None:
        if batch_size < 1 or seed < 0 or not 0 <= rank < world_size:
            raise ValueError(
                f"batch_size {batch_size}, seed {seed}, rank {rank} of {world_size}: the size must "
                "be positive, the seed not negative, the rank below the number of processes"
            )
        if num_samples < (world_size * batch_size if drop_last else 1):
            raise ValueError(
                f"{num_samples} samples make no batch of {batch_size} on each of {world_size} "
                "processes; take a smaller batch or more samples"
            )
        if shard_of is not None and (len(shard_of) != num_samples or shards_at_a_time < 1):
            raise ValueError(
                f"batches in blocks of {shards_at_a_time} shards need at least one, and the shard "
                f"of each of {num_samples} samples, not of {len(shard_of)}"
            )
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.drop_last, self.shuffle = drop_last, shuffle
        self.shard_of = shard_of
        self.shards_at_a_time = 0 if shard_of is None else shards_at_a_time
        self.sharding = fingerprint(shard_of)
        self.epoch = self.offset = 0
        self._kept: tuple[int, Order] | None = None

    def __len__(self) -> int:
        """Batches in a whole epoch, wherever it was resumed."""
        return -(-self._samples_per_rank() // self.batch_size)

    def __iter__(self) -> Iterator[list[Pick]]:
        epoch, first = self.epoch, self.offset * self.batch_size
        samples = self.samples_of(epoch)
        for start in range(first, len(samples), self.batch_size):
            batch = samples[start : start + self.batch_size].tolist()
            yield [Pick(epoch, sample) for sample in batch]

    def samples_of(self, epoch: int) -> Order:
        """This rank's samples of an epoch, in order."""
        if self._kept is None or self._kept[0] != epoch:
            each, in_blocks = self._samples_per_rank(), self.shard_of is not None
            order = dealt(self._order_of(epoch), self.rank, self.world_size, each, in_blocks)
            self._kept = epoch, order.copy()  # the copy lets the other ranks' samples go
        return self._kept[1]

    def upcoming(self, count: int) -> Order:
        """The next `count` samples of this epoch after the last batch counted."""
        first = self.offset * self.batch_size
        return self.samples_of(self.epoch)[first : first + count]

    def advance(self) -> None:
        """Count one more batch as done; after the last one the next epoch begins."""
        self.seek(self.epoch, self.offset + 1)

    def seek(self, epoch: int, offset: int = 0) -> None:
        """Go to a batch of an epoch."""
        self.epoch, self.offset = (epoch + 1, 0) if offset >= len(self) else (epoch, offset)

    def state_dict(self) -> dict[str, int | bool]:
        """Where the run stands, and what the order depends on; the same on every rank."""
        return {"epoch": self.epoch, "offset": self.offset, **self._settings()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Go on where another sampler stood.

        Raises:
            ValueError: that one's order was another: other samples, batches, seed or ranks.
        """
        # A state from before there were blocks says nothing of them.
        state = {"shards_at_a_time": 0, "sharding": 0, **state}
        for name, value in self._settings().items():
            if state.get(name) != value:
                raise ValueError(
                    f"the run to resume had {name} {state.get(name)}, this one has {value}: "
                    "resume with the same settings, or start a new run"
                )
        self.seek(int(state["epoch"]), int(state["offset"]))

    def _settings(self) -> dict[str, int | bool]:
        return {name: getattr(self, name) for name in SETTINGS}

    def _order_of(self, epoch: int) -> Order:
        if not self.shuffle:
            return np.arange(self.num_samples)
        if self.shard_of is None:
            return full_order(self.num_samples, self.seed, epoch)
        return block_order(self.shard_of, self.shards_at_a_time, self.seed, epoch)

    def _samples_per_rank(self) -> int:
        if self.drop_last:
            full = self.num_samples // (self.world_size * self.batch_size)
            return full * self.batch_size
        return -(-self.num_samples // self.world_size)

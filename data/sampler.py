"""The order of samples over epochs, ranks and restarts, as a function of a seed and a position.

Nothing is drawn from a running random state: epoch e's order depends on (seed, e) alone, so
"where were we" is two numbers, and a resumed run sees the batches it would have seen.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class Pick(NamedTuple):
    """One sample to load: its epoch, which seeds its augmentation, and its number."""

    epoch: int
    sample: int


class ResumableSampler(Sampler[list[Pick]]):
    """Batches of picks; every sample once an epoch, equally many batches on every rank.

    Where the samples do not divide among the ranks, the first few of the epoch's order are seen
    again at its end (fewer than `world_size`), or, with `drop_last`, the last ones are left out
    that epoch (fewer than `world_size * batch_size`). Rank r takes every world_size-th sample.

    Iterating goes from the last batch that `advance` has counted to the end of its epoch. The
    loader of `data.stream.batches` counts a batch when it hands it out, not when a worker
    begins to load it ahead.

    Args:
        num_samples: Number of samples, on all ranks together.
        batch_size: Samples in a batch, on one rank.
        seed: Of the order.
        rank: This process's number.
        world_size: Number of processes.
        drop_last: Leave out a last batch that is not full.
        shuffle: Draw a new order each epoch; without it, samples come in their own order.

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
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.drop_last, self.shuffle = drop_last, shuffle
        self.epoch = self.offset = 0

    def __len__(self) -> int:
        """Batches in a whole epoch, wherever it was resumed."""
        return -(-self._samples_per_rank() // self.batch_size)

    def __iter__(self) -> Iterator[list[Pick]]:
        epoch, first = self.epoch, self.offset * self.batch_size
        samples = self.samples_of(epoch).tolist()
        for start in range(first, len(samples), self.batch_size):
            yield [Pick(epoch, sample) for sample in samples[start : start + self.batch_size]]

    def samples_of(self, epoch: int) -> NDArray[np.int64]:
        """This rank's samples of an epoch, in order."""
        order = np.arange(self.num_samples)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        # resize repeats the order from its start where it is too short.
        return np.resize(order, self._samples_per_rank() * self.world_size)[
            self.rank :: self.world_size
        ]

    def advance(self) -> None:
        """Count one more batch as done; after the last one the next epoch begins."""
        self.seek(self.epoch, self.offset + 1)

    def seek(self, epoch: int, offset: int = 0) -> None:
        """Go to a batch of an epoch."""
        self.epoch, self.offset = (epoch + 1, 0) if offset >= len(self) else (epoch, offset)

    def state_dict(self) -> dict[str, int | bool]:
        """Where the run stands, and what the order depends on; the same on every rank."""
        return {"epoch": self.epoch, "offset": self.offset, **self._order()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Go on where another sampler stood.

        Raises:
            ValueError: that one's order was another: other samples, batches, seed or ranks.
        """
        for name, value in self._order().items():
            if state.get(name) != value:
                raise ValueError(
                    f"the run to resume had {name} {state.get(name)}, this one has {value}: "
                    "resume with the same settings, or start a new run"
                )
        self.seek(int(state["epoch"]), int(state["offset"]))

    def _order(self) -> dict[str, int | bool]:
        names = ("num_samples", "batch_size", "seed", "world_size", "drop_last", "shuffle")
        return {name: getattr(self, name) for name in names}

    def _samples_per_rank(self) -> int:
        if self.drop_last:
            full = self.num_samples // (self.world_size * self.batch_size)
            return full * self.batch_size
        return -(-self.num_samples // self.world_size)

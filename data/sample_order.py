"""Orders of an epoch's samples, each drawn from (seed, epoch) alone, and what each rank takes.

`full_order` shuffles everything: what shards on a local disk allow. `block_order` shuffles the
shards, and the samples within a few shards at a time: what shards that must be fetched need, for
they come one after the other and none twice an epoch.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]


def full_order(num_samples: int, seed: int, epoch: int) -> Order:
    """All samples `(num_samples,)` in random order."""
    return np.random.default_rng((seed, epoch)).permutation(num_samples)


def block_order(shard_of: NDArray, shards_at_a_time: int, seed: int, epoch: int) -> Order:
    """All samples in random order within blocks of shards, the shards in random order.

    Args:
        shard_of: The shard of each sample `(N,)`.
        shards_at_a_time: Shards in a block; the last block may have fewer.
        seed: Of the order.
        epoch: Which epoch.

    Returns:
        Samples `(N,)`.
    """
    generator = np.random.default_rng((seed, epoch))
    place = generator.permutation(int(shard_of.max(initial=-1)) + 1)
    order = generator.permutation(len(shard_of))
    block = (place // shards_at_a_time)[shard_of[order]]
    # Stable: within a block the samples stay as the permutation has them.
    return order[np.argsort(block, kind="stable")]


def dealt(order: Order, rank: int, world_size: int, each: int, in_blocks: bool) -> Order:
    """The `each` samples of an order that a rank takes.

    A full order is dealt out like cards. One in blocks is cut into as many runs, so that a rank
    meets its own shards only, and those at the ends of its run. Where the order is too short, it
    goes on from its start; where it is too long, its end is left out.
    """
    if not in_blocks:
        return np.resize(order, each * world_size)[rank::world_size]
    return np.take(order, np.arange(rank * each, (rank + 1) * each), mode="wrap")


def fingerprint(shard_of: NDArray | None) -> int:
    """A number that tells one way of putting samples into shards from another; 0 for None."""
    if shard_of is None:
        return 0
    return zlib.crc32(np.asarray(shard_of, np.int64).tobytes())

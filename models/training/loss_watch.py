"""Stop at the first loss that is not finite, and name the photos it came from.

On a GPU, asking for a number makes the processor wait until everything queued before it is done.
So the loss of a batch is copied out behind its forward pass and looked at when the next batch
begins; nothing is saved before it was looked at.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class LossWatch:
    """The last loss that was not looked at yet, and its photos."""

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event | None, Sequence[str]] | None = None

    def see(self, loss: Tensor, keys: Sequence[str]) -> None:
        """Look at the batch before, and on a CPU at this one.

        Args:
            loss: of a batch, a scalar.
            keys: of its photos.

        Raises:
            FloatingPointError: a loss is not finite; the message names the photos.
        """
        self.check()
        loss = loss.detach()
        if loss.is_cuda:
            copy = torch.empty((), dtype=loss.dtype, pin_memory=True)
            copy.copy_(loss, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
            self._pending = copy, done, keys
        else:
            self._pending = loss, None, keys
            self.check()

    def check(self) -> None:
        """Look at the last loss now.

        Raises:
            FloatingPointError: it is not finite.
        """
        if self._pending is None:
            return
        loss, done, keys = self._pending
        self._pending = None
        if done is not None:
            done.synchronize()
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} on photos {', '.join(keys)}: "
                "lower --lr, or look at these photos"
            )

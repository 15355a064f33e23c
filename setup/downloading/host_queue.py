"""Which URL to ask next: each host gets a few requests at a time, and none while it rests.

Jobs wait in a line of their host. A place in `_turns` stands for one request that its host may be
asked now, so a host that is busy or rests holds nobody else up, and whoever takes the next turn
goes round the hosts. The queue is for one event loop; it holds what its caller lets in.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class _Host(Generic[Job]):
    """Its jobs, requests under way, turns given out, failures on end, and until when it rests."""

    name: str
    waiting: deque[Job] = field(default_factory=deque)
    busy: int = 0
    turns: int = 0
    strikes: int = 0
    rests_until: float = 0.0
    is_left: bool = False


class HostQueue(Generic[Job]):
    """Jobs by host, for one event loop.

    Args:
        per_host: requests at a time to one host.
    """

    def __init__(self, per_host: int) -> None:
        self.per_host = per_host
        self._hosts: dict[str, _Host[Job]] = {}
        self._turns: asyncio.Queue[_Host[Job] | None] = asyncio.Queue()

    def __len__(self) -> int:
        return sum(len(host.waiting) for host in self._hosts.values())

    def put(self, name: str, job: Job, is_first: bool = False) -> bool:
        """Let a job wait for its host; False where the host is left alone.

        Args:
            name: of the host.
            job: any object.
            is_first: before those that wait already.
        """
        host = self._hosts.setdefault(name, _Host(name))
        if host.is_left:
            return False
        (host.waiting.appendleft if is_first else host.waiting.append)(job)
        self._give_turns(host)
        return True

    async def take(self) -> Job | None:
        """Wait for a job that may be asked now; None after `close`. `release` its host after."""
        while (host := await self._turns.get()) is not None:
            host.turns -= 1
            if host.waiting and self._may_be_asked(host):
                host.busy += 1
                return host.waiting.popleft()
        return None

    def release(self, name: str) -> None:
        """A request to this host is done."""
        host = self._hosts[name]
        host.busy -= 1
        self._give_turns(host)
        is_idle = not (host.busy or host.turns or host.waiting or host.is_left)
        if is_idle and self._may_be_asked(host):
            del self._hosts[name]  # a list may name a million hosts

    def rest(self, name: str, pause_s: float) -> None:
        """Ask this host nothing for a while."""
        host, loop = self._hosts[name], asyncio.get_running_loop()
        host.rests_until = max(host.rests_until, loop.time() + pause_s)
        # A little later: a loop's clock may wake us a tick early, and nobody would wake us again.
        loop.call_at(host.rests_until + 0.001, self._give_turns, host)

    def strike(self, name: str, is_failure: bool) -> int:
        """Count a failure of a host with a request under way; returns how many it had on end."""
        host = self._hosts[name]
        host.strikes = host.strikes + 1 if is_failure else 0
        return host.strikes

    def leave(self, name: str) -> list[Job]:
        """Ask this host nothing any more; its jobs that waited."""
        host = self._hosts[name]
        host.is_left, left = True, list(host.waiting)
        host.waiting.clear()
        return left

    def close(self, takers: int) -> None:
        """Send this many takers home."""
        for _ in range(takers):
            self._turns.put_nowait(None)

    def _may_be_asked(self, host: _Host[Job]) -> bool:
        return asyncio.get_running_loop().time() >= host.rests_until

    def _give_turns(self, host: _Host[Job]) -> None:
        while (
            host.turns + host.busy < self.per_host
            and host.turns < len(host.waiting)
            and self._may_be_asked(host)
        ):
            host.turns += 1
            self._turns.put_nowait(host)

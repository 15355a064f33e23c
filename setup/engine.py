"""Run one step over many items, on this machine's cores or on a Ray cluster.

A step is a function of one item that may be run again: a worker that is lost (killed, out of
memory, its machine gone) costs another run of its item, not the work. Ray: https://docs.ray.io;
it is not installed by default, and only asked for by `engine="ray"`.
"""

import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
ATTEMPTS = 3  # runs of an item whose worker is lost
STOP_S = 5.0  # for a worker to clear its temporary files away


class WorkerLost(RuntimeError):
    """An item's workers were lost again and again."""


class _Gone(Exception):
    """A worker is."""


def run(
    step: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    engine: str = "local",
    workers: int = 0,
    on_done: Callable[[Result], None] | None = None,
    ray_address: str = "",
) -> list[Result]:
    """Run `step` over `items`.

    One local worker is this process itself. More are processes started afresh, which import the
    step's module; they are gone when this process is.

    Args:
        step: a picklable function that may be run again with the same item.
        items: picklable; `str(item)` names one in errors.
        engine: one of `ENGINES`.
        workers: processes, or tasks at a time; 0 takes all cores (of the cluster).
        on_done: called here with each result as it comes, in no order.
        ray_address: of a cluster; where neither it nor RAY_ADDRESS is set, one is started on
            this machine alone and ends with the run.

    Returns:
        The results in the order of the items.

    Raises:
        ValueError: unknown engine, no Ray, or no cluster at the address.
        WorkerLost: an item's worker was lost `ATTEMPTS` times.
        Exception: what `step` raises; the other workers are stopped.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if workers < 0:
        raise ValueError(f"workers must be positive, or 0 for all cores, got {workers}")
    on_done = on_done or (lambda _: None)
    if not items:
        return []
    if engine == "ray":
        from setup.ray_engine import run_ray

        return run_ray(step, items, workers, on_done, ray_address)
    workers = min(workers or cores(), len(items))
    if workers == 1:
        return _run_here(step, items, on_done)
    return _run_local(step, items, workers, on_done)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lost(item: object, ending: str) -> str:
    """What `WorkerLost` says."""
    return f"{str(item)[:200]}: its worker was lost {ATTEMPTS} times ({ending})"


def _run_here(
    step: Callable[[Item], Result], items: Sequence[Item], on_done: Callable[[Result], None]
) -> list[Result]:
    results = []
    for item in items:
        results.append(step(item))
        on_done(results[-1])
    return results


def _run_local(
    step: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    on_done: Callable[[Result], None],
) -> list[Result]:
    results: dict[int, Result] = {}
    waiting, losses = deque(range(len(items))), Counter[int]()
    idle: list[_Worker] = []
    busy: dict[connection.Connection, tuple[_Worker, int]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker, at = idle.pop() if idle else _Worker(step), waiting.popleft()
                busy[worker.pipe] = worker, at
                worker.give(items[at])
            for pipe in connection.wait(list(busy)):
                worker, at = busy[pipe]  # type: ignore[index]
                try:
                    results[at] = worker.answer()
                except _Gone:
                    losses[at] += 1
                    if losses[at] == ATTEMPTS:
                        raise WorkerLost(lost(items[at], worker.ending())) from None
                    waiting.appendleft(at)
                else:
                    idle.append(worker)
                    on_done(results[at])
                del busy[pipe]  # type: ignore[arg-type]
    finally:
        _stop([*idle, *(worker for worker, _ in busy.values())])
    return [results[at] for at in range(len(items))]


class _Worker:
    """A process that runs the step over one item after the other."""

    def __init__(self, step: Callable[[Any], Any]) -> None:
        # Not forked: a fork takes over locks that threads (a progress bar's, torch's) hold.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(step, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, item: object) -> None:
        with suppress(BrokenPipeError):  # lost while idle: the answer will be that it is
            self.pipe.send(item)

    def answer(self) -> Any:
        """The step's result; raises what it raised, or `_Gone`."""
        try:
            is_result, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise _Gone from None
        if is_result:
            return answer
        raise answer

    def ending(self) -> str:
        self.process.join(STOP_S)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return "killed; too little memory? Give fewer workers"
        return f"exit status {code}"


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(STOP_S)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()


def _work(step: Callable[[Any], Any], pipe: connection.Connection) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    # An exit instead of an end in the middle: temporary files are cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores out already
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, step(item)
        except Exception as error:
            answer = False, _sendable(error)
        pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error itself, or where it cannot travel another with its words."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class's own way of being made raises
        return RuntimeError(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """Leave with the parent, however it ends: the next run must find nobody at work."""
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)

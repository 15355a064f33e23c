"""Run a step over many items on a Ray cluster: `setup.engine.run` with `engine="ray"`.

Every machine of the cluster needs this project at the same path and sees the same folders. Ray
runs an item again whose worker or machine is lost. https://docs.ray.io/en/latest/ray-core/tasks
"""

import os
import socket
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from setup.engine import ATTEMPTS, WorkerLost, cores, lost

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).parent.parent
CONNECT_S = 10.0


def run_ray(
    step: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    on_done: Callable[[Result], None],
    address: str,
) -> list[Result]:
    """Run `step` over `items`; arguments, result and errors as `setup.engine.run`'s."""
    address = address or os.environ.get("RAY_ADDRESS", "")
    ray = _import_ray(address)
    started = _connect(ray, address, workers)
    try:
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        return _run_tasks(ray, step, items, workers, on_done)
    finally:
        if started:
            ray.shutdown()


def _import_ray(address: str) -> ModuleType:
    # Both are read when Ray is imported. The second keeps a cluster of our own on loopback, which
    # is Ray's way on the two systems of its name; elsewhere it listens to the whole network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise ValueError(
            "--engine ray needs Ray: `pip install -r requirements-ray.txt`, or leave --engine out "
            "to use this machine's cores"
        ) from None
    return ray


def _connect(ray: ModuleType, address: str, workers: int) -> bool:
    """Connect to a cluster, or start one; False where the caller is connected already."""
    if ray.is_initialized():
        return False
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": {"PYTHONPATH": path}},
    }
    if address:
        _check_address(address)
    else:
        options |= {"num_cpus": workers or cores(), "include_dashboard": False}
    try:
        ray.init(address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"connect to Ray at {address}" if address else "start Ray on this machine"
        raise ValueError(f"cannot {where}: {error}") from error
    return True


def _check_address(address: str) -> None:
    """Whether anybody is there at all, for which Ray itself waits for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise ValueError(
            f"no Ray cluster at {address} ({error}): check --ray_address and RAY_ADDRESS, or start "
            "one with `ray start --head`"
        ) from None


def _run_tasks(
    ray: ModuleType,
    step: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    on_done: Callable[[Result], None],
) -> list[Result]:
    task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_call)
    results: dict[int, Result] = {}
    waiting = iter(range(len(items)))
    under_way = {task.remote(step, items[at]): at for at in islice(waiting, workers)}
    try:
        while under_way:
            (done, *_), _ = ray.wait(list(under_way))
            at = under_way.pop(done)
            results[at] = _result(ray, done, items[at])
            on_done(results[at])
            for following in islice(waiting, 1):
                under_way[task.remote(step, items[following])] = following
    finally:
        for left in under_way:  # after an error: the next run must find nobody at work
            ray.cancel(left, force=True)
    return [results[at] for at in range(len(items))]


def _call(step: Callable[[Item], Result], item: Item) -> Result:
    return step(item)


def _result(ray: ModuleType, done: Any, item: object) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the step's own error, without Ray's traceback as its text
    except ray.exceptions.RayError as error:
        raise WorkerLost(lost(item, str(error).partition("\n")[0])) from None

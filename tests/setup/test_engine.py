"""A step over many items: results in order, whatever becomes of the workers.

The tests with Ray start clusters of their own; `make slow` runs them.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from setup.engine import ATTEMPTS, WorkerLost, run

ROOT = Path(__file__).parent.parent.parent


def square(x):
    return x * x, os.getpid()


def die_first(path):
    """Be killed at the first run with a path, and only then."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die_always(x):
    with Path(x).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(x):
    if x == 3:
        raise ValueError(f"item {x} is bad")
    return x


def stay(folder):
    """Make a file, and hold a temporary one for as long as the worker is let."""
    try:
        (folder / f"{os.getpid()}.here").touch()
        time.sleep(60)
    finally:
        (folder / f"{os.getpid()}.here").unlink()


def fail_when_others_stay(folder):
    try:
        (folder / "failed").touch(exist_ok=False)  # by one of the two, at whatever moment they ask
    except FileExistsError:
        return stay(folder)
    while not list(folder.glob("*.here")):
        time.sleep(0.01)
    raise OSError(28, "No space left on device")


def listening(_):
    """Addresses that processes of this machine listen at, as the kernel writes them."""
    time.sleep(1)
    lines = (Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()).splitlines()
    return {line.split()[1] for line in lines if line.split()[3] == "0A"}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    seen = []
    results = run(square, range(12), workers=workers, on_done=lambda result: seen.append(result[0]))
    assert [result for result, _ in results] == [x * x for x in range(12)]
    assert Counter(seen) == Counter(x * x for x in range(12))
    pids = {pid for _, pid in results}
    assert len(pids) <= workers
    assert (os.getpid() in pids) == (workers == 1)
    assert run(square, [], workers=workers) == []


def test_a_lost_worker_costs_another_run(tmp_path):
    paths = [tmp_path / str(i) for i in range(4)]
    assert run(die_first, paths, workers=2) == ["0", "1", "2", "3"]


def test_an_item_that_kills_every_worker_is_named(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(WorkerLost, match=r"/[ab]: its worker was lost 3 times \(killed"):
        run(die_always, paths, workers=2)
    assert max(len(path.read_text()) for path in paths if path.exists()) == ATTEMPTS


@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_says_what_is_wrong(workers):
    with pytest.raises(ValueError, match=r"^item 3 is bad$"):
        run(refuse, range(6), workers=workers)


class Fussy(Exception):
    """Can be sent, but not be made anew from what was sent."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def be_fussy(x):
    raise EOFError("the file ends") if x else Fussy("this", "that")


def test_any_error_arrives():
    with pytest.raises(RuntimeError, match="Fussy: this and that"):
        run(be_fussy, [0, 0], workers=2)
    with pytest.raises(EOFError, match="the file ends"):
        run(be_fussy, [1, 1], workers=2)


def test_an_error_lets_the_others_clear_up(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        run(fail_when_others_stay, [tmp_path] * 2, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["failed"]


def test_workers_end_with_their_parent(tmp_path):
    program = (
        "from pathlib import Path; from setup.engine import run\n"
        "from tests.setup.test_engine import stay\n"
        f"if __name__ == '__main__': run(stay, [Path({str(tmp_path)!r})] * 2, workers=2)"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    parent = subprocess.Popen([sys.executable, script], cwd=ROOT, env=_path())
    _wait_for(lambda: len(list(tmp_path.glob("*.here"))) == 2)
    pids = [path.stem for path in tmp_path.glob("*.here")]
    parent.kill()
    parent.wait()
    _wait_for(lambda: not any(_runs(pid) for pid in pids))


@pytest.mark.parametrize(
    ("options", "what"),
    [({"engine": "spark"}, "engine must be one of local, ray"), ({"workers": -1}, "positive")],
)
def test_unusable_options(options, what):
    with pytest.raises(ValueError, match=what):
        run(square, [1], **options)


def test_without_ray_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements-ray\.txt"):
        run(square, [1], engine="ray")


@pytest.fixture(autouse=True)
def _on_loopback(monkeypatch):
    """Whoever imports Ray first."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@pytest.fixture
def cluster():
    """One for all that a test runs."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_same(tmp_path):
    results = run(square, range(12), engine="ray", workers=2)
    assert [result for result, _ in results] == [x * x for x in range(12)]
    assert os.getpid() not in {pid for _, pid in results}
    paths = [tmp_path / str(i) for i in range(4)]
    assert run(die_first, paths, engine="ray", workers=2) == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match=r"^item 3 is bad$"):
        run(refuse, range(6), engine="ray", workers=2)
    with pytest.raises(WorkerLost, match=r"/a: its worker was lost 3 times"):
        run(die_always, [tmp_path / "a"], engine="ray", workers=1)
    assert len((tmp_path / "a").read_text()) == ATTEMPTS


@pytest.mark.slow
def test_a_cluster_of_our_own_listens_to_this_machine_alone():
    """In a process of its own: Ray reads where to listen when it is imported."""
    pytest.importorskip("ray")
    program = (
        "from setup.engine import run; from tests.setup.test_engine import listening\n"
        "before = listening(0)\n"
        "print(sorted(run(listening, [0], engine='ray', workers=1)[0] - before))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=_path(), capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    addresses = {entry.strip("[]' \n").split(":")[0] for entry in answer.stdout.split(",")}
    assert addresses
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}, "127.0.0.1"


def test_no_cluster_at_the_address():
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run(square, [1], engine="ray", ray_address="127.0.0.1:1")


def _path():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def _runs(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

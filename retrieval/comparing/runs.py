"""Prepare, train and test the rows of `retrieval.compare`, each in a folder that is kept.

    OUT/methods/NAME/model     what retrieval.train wrote, where the row trains
    OUT/methods/NAME/val, test what retrieval.test wrote
    OUT/methods/NAME/log       what the commands said
    OUT/methods/NAME/minutes.json

What is there is not done again; a training that was stopped goes on. The commands run as their own
processes, as a user would run them.
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from retrieval.comparing.methods import METHODS, Step
from retrieval.comparing.sets import Sets

ROOT = Path(__file__).parents[2]  # where `python -m` finds the commands
SPLITS = ("val", "test")
RESULT = "recalls.json"  # what a test writes last
# glibc gives the memory of a step's maps back and asks for it again: a sixth of a training on CPU.
KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**32)}
WHAT = {
    "plain": "the same places cut plainly out of panoramas",
    "undistorted": "the same places undistorted out of panoramas",
    "maps": "segmentation maps of the set",
}


class NotRunError(Exception):
    """A row cannot be had; the message says why."""


class Processes:
    """Commands that run now, in any number of threads."""

    def __init__(self) -> None:
        self._lock, self._is_stopped = threading.Lock(), False
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, command: list[str], **options: Any) -> int:
        """Run a command to its end; returns its status.

        Raises:
            NotRunError: after `stop`.
        """
        with self._lock:
            if self._is_stopped:
                raise NotRunError("it was stopped")
            process = subprocess.Popen(command, **options)
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """End those that run, and start no more."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.terminate()


@dataclass(frozen=True)
class Runs:
    """The rows' folders and the commands that fill them.

    Attributes:
        out: Of the study; absolute, the commands run in the project's root.
        sets: What is trained and tested on.
        flags: Of every training: after the recipe's, before the row's own.
        last_flags: Likewise, after the row's own.
        scale: "toy" or "fast" where rows take their flags for the synthetic town, or the tiny
            one.
        device: auto, cpu or cuda.
        threads: Of each command's arithmetic; 0 leaves it to the command.
        processes: The commands that run now.
    """

    out: Path
    sets: Sets
    flags: str
    last_flags: str
    scale: str
    device: str
    threads: int = 0
    processes: Processes = field(default_factory=Processes)

    def folder(self, name: str) -> Path:
        """Of a row."""
        return self.out / "methods" / name.lstrip("+")

    def model(self, name: str) -> Path:
        """The place model that a row is tested with, or the first of several."""
        method = METHODS[name]
        return self.folder(name) / "model" if method.train else self.model(method.base)

    def data(self, name: str) -> Path:
        """The set that a row is trained and tested on.

        Raises:
            NotRunError: there is none.
        """
        return Path(self.filled(METHODS[name].data, name)[0])

    def is_tested(self, name: str) -> bool:
        """Whether a row's figures are there."""
        return all((self.folder(name) / split / RESULT).is_file() for split in SPLITS)

    def run(self, name: str) -> None:
        """Do what is missing of a row.

        Raises:
            NotRunError: it cannot be had, or a command failed.
        """
        method = METHODS[name]
        for step in method.prepare:
            self._prepare(name, step)
        data = str(self.data(name))
        if method.train:
            self._train(name, data)
        words = self.filled(f"{method.test} {method.toy_test if self.scale else ''}", name)
        for split in SPLITS:
            place = self.folder(name) / split
            if not (place / RESULT).is_file():
                more = ["--data", data, "--split", split, "--out", str(place)]
                self._command(name, "test", ["retrieval.test", *words, *more, *self._machine])

    def filled(self, text: str, name: str) -> list[str]:
        """The words of a row's flags, braces filled in.

        Raises:
            NotRunError: a set or model that they name is not there.
        """
        method, places = METHODS[name], self.sets._asdict()
        places |= {"folder": self.folder(name), "model": self.model(name)}
        places |= {other: self.model(other) for other in method.needs}
        places |= {"base": self.model(method.base)} if method.base else {}
        for place, path in places.items():
            if f"{{{place}}}" not in text:
                continue
            if path is None:
                raise NotRunError(f"this needs {WHAT[place]}; give --{place} DIR")
            is_model = place == "base" or place in method.needs
            if is_model and not (path / "config.json").is_file():
                raise NotRunError(f"the model it stands on, of {path.parent.name}, is missing")
        return [word.format(**places) for word in text.split()]

    @property
    def _environment(self) -> dict[str, str]:
        given = KEPT_MEMORY | ({"OMP_NUM_THREADS": str(self.threads)} if self.threads else {})
        return {name: value for name, value in given.items() if name not in os.environ}

    @property
    def _machine(self) -> list[str]:
        return ["--device", self.device]

    def _train(self, name: str, data: str) -> None:
        method, model = METHODS[name], self.folder(name) / "model"
        if (model / "config.json").is_file():
            return
        toy = method.toy if self.scale else ""
        given = f"{self.flags} {toy} {self.last_flags}".split()
        flags = [*self.filled(method.train, name), *given]
        resume = ["--resume"] * any((model / "checkpoints").glob("step*.ckpt"))
        words = ["--data", data, "--out", str(model), *flags, *self._machine, *resume]
        self._command(name, "train", ["retrieval.train", *words])

    def _prepare(self, name: str, step: Step) -> None:
        """Run a command that comes first."""
        module, *words = self.filled(step.command, name)
        is_subcommand = bool(words) and not words[0].startswith("-")
        what = f"{module}.{words[0]}" if is_subcommand else module
        done = self.folder(name) / f"{what}.done"
        if done.is_file():
            return
        if importlib.util.find_spec(module) is None:
            raise NotRunError(f"there is no `python -m {module}`")
        toy = {"toy": step.toy, "fast": step.fast}.get(self.scale, "").split()
        run = self.folder(name) / step.run / "checkpoints"
        resume = ["--resume"] * (bool(step.run) and any(run.glob("*.ckpt")))
        self._command(name, "prepare", [module, *words, *toy, *self._machine, *resume])
        with atomic_path(done) as temporary:
            temporary.write_text("")

    def _command(self, name: str, what: str, words: list[str]) -> None:
        log = self.folder(name) / "log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with clocked(self.folder(name), what):
            status = run_module(words, log, self._environment, self.processes)
        if status:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            raise NotRunError(f"`python -m {words[0]}` failed, see {log}: {last.strip()}")


def run_module(
    words: list[str], log: Path, environment: Mapping[str, str], processes: Processes
) -> int:
    """Run a module of the project with its flags, its output into a log; return its status."""
    with log.open("a") as file:
        file.write(f"$ python -m {' '.join(words)}\n")
        file.flush()
        return processes.run(
            [sys.executable, "-m", *words],
            cwd=ROOT, env={**os.environ, **environment, "COLUMNS": "100"},
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextmanager
def clocked(folder: Path, what: str) -> Iterator[None]:
    """Add the minutes that pass meanwhile to those in a folder's minutes.json."""
    began, path = time.monotonic(), folder / "minutes.json"
    try:
        yield
    finally:
        minutes = minutes_of(folder)
        minutes[what] = minutes.get(what, 0.0) + (time.monotonic() - began) / 60
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(minutes))


def minutes_of(folder: Path) -> dict[str, float]:
    """What a row took so far: prepare, train, test -> minutes."""
    path = folder / "minutes.json"
    found: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    return found

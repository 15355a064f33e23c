"""What does each part of the geocell model bring? One study on Blue Marble, by one command.

    python -m setup.ablation_study --output runs/ablation --report docs/ablation

Trains the two-branch model (photo and map, three levels, distance-smoothed labels) and itself with
one thing taken away, all from scratch, on the same crops, with the same budget (each sees every
crop once an epoch, in the same order), and tests all on the same held-out tiles, at least one tile
away from any training crop (setup/blue_marble_crops.py). Writes into --report

- ablation.md, ablation.csv: shares, paired intervals, McNemar's p, and in words what the model
  beats and what not (setup/ablation_table.py);
- reliability.png, abstention.png, coverage.png, reliability.json: of the whole model.

It is overhead imagery, not photographs: the study compares machinery, and nothing in it says how
well photos are placed. The tiles have no scene labels, so the scene head cannot be judged here.

Each finished model is kept: run again, the command trains what is missing and goes on within what
was stopped. --minutes starts no further model after so long.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from partitioning.atomic_file import atomic_path
from setup import blue_marble_crops
from setup.ablation_report import SAME, WHOLE, write_report

ROOT = Path(__file__).parent.parent
ABLATIONS = {  # name -> what it changes
    WHOLE: "",
    "RGB only": "--inputs rgb",
    "map only": "--inputs seg",
    "late fusion": "--fusion late",
    "single level": "--single_level",
    "no smoothing": "--smoothing_km 0",
    SAME: "--seed 1",
}
# A fifth of the distance between fine cells: a neighbour gets a twentieth of a label or so.
BASE = (
    "--recipe tiny --backbone_args patch_size=8,embed_dim=96,depth=4,num_heads=4 "
    "--smoothing_km 100 --select last --workers 0"
)
console = Console(stderr=True)


@dataclass(frozen=True)
class Study:
    """What decides the figures; a folder holds one such study.

    Attributes:
        crops: training crops.
        epochs: passes over them.
        seed: of blocks and crops.
    """

    crops: int = 120_000
    epochs: int = 1
    seed: int = 0

    def flags(self, ablation: str) -> list[str]:
        """What train_vit.py is told, but for folders and machine."""
        words = f"{BASE} --epochs {self.epochs} {ABLATIONS[ablation]}"
        return words.split()


def open_folder(output: Path, study: Study) -> None:
    """Remember what study a folder holds.

    Raises:
        ValueError: it holds another one.
    """
    path = output / "study.json"
    ours = json.dumps({**asdict(study), "base": BASE, "ablations": ABLATIONS}, indent=2)
    if path.is_file() and path.read_text() != ours:
        raise ValueError(f"{output} holds a study with other settings: take another --output")
    with atomic_path(path) as temporary:
        temporary.write_text(ours)


def folder_of(output: Path, ablation: str) -> Path:
    """Where a model lies."""
    return output / "models" / ablation.lower().replace(" ", "-")


def is_tested(output: Path, ablation: str) -> bool:
    """Whether a model is there, tested; the posteriors are what a test writes last."""
    folder = folder_of(output, ablation)
    return (folder / "config.json").is_file() and (folder / "test/posteriors.npz").is_file()


def run(words: list[str], log: Path, threads: int) -> None:
    """Run a Python command, its output into a log.

    Raises:
        ValueError: it failed; the message has its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "120"}
    with log.open("a") as file:
        file.write(f"$ python {' '.join(words)}\n")
        file.flush()
        answer = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if answer.returncode:
        last = (log.read_text().strip().splitlines() or [""])[-1]
        raise ValueError(f"`python {words[0]}` failed, see {log}: {last}")


def train_and_test(study: Study, output: Path, ablation: str, device: str, threads: int) -> None:
    """Train a model, or go on with it, and test it."""
    output = output.resolve()  # the commands run in the project's root
    folder, data = folder_of(output, ablation), output / "data"
    log = folder.with_suffix(".log")
    machine = ["--device", device]
    if not (folder / "config.json").is_file():
        is_stopped = any((folder / "checkpoints").glob("step*.ckpt"))
        words = ["train_vit.py", "--data", str(data), "--out", str(folder)]
        words += study.flags(ablation) + machine + ["--resume"] * is_stopped
        started = time.monotonic()
        run(words, log, threads)
        minutes = (time.monotonic() - started) / 60
        with atomic_path(folder / "minutes.json") as temporary:
            temporary.write_text(json.dumps({"minutes": minutes, "resumed": is_stopped}))
    words = ["test_vit.py", "--model", str(folder), "--shards", str(data / "test")]
    run([*words, "--save_posteriors", "--workers", "0", *machine], log, threads)


def train_all(
    study: Study, output: Path, chosen: list[str], minutes: float, jobs: int, device: str
) -> list[str]:
    """Train and test what is missing, `jobs` models at a time; return what is still missing.

    Raises:
        ValueError: a command failed.
    """
    missing = [name for name in chosen if not is_tested(output, name)]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    start, failed = time.monotonic(), threading.Event()
    say(f"{len(chosen) - len(missing)} of {len(chosen)} models are there already")

    def one(name: str) -> None:
        if failed.is_set() or (time.monotonic() - start) / 60 >= minutes:
            return
        say(f"{name}: training; its log is {folder_of(output, name)}.log")
        begun = time.monotonic()
        try:
            train_and_test(study, output, name, device, threads)
        except BaseException:
            failed.set()
            raise
        done = sum(is_tested(output, other) for other in chosen)
        say(f"{name}: done in {(time.monotonic() - begun) / 60:.1f} min, {done} of {len(chosen)}")

    with ThreadPoolExecutor(jobs) as pool, console.status("training"):
        list(pool.map(one, missing))
    return [name for name in missing if not is_tested(output, name)]


def say(text: str) -> None:
    """Report progress."""
    console.print(text, highlight=False, markup=False)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="crops and models go here")
    add("--report", type=Path, metavar="DIR", help="table and plots go here; default: --output")
    add("--crops", type=int, default=Study.crops, help="training crops")
    add("--epochs", type=int, default=Study.epochs, help="passes over them")
    add("--seed", type=int, default=Study.seed, help="of blocks and crops")
    add("--minutes", type=float, default=float("inf"), help="start no further model after so long")
    add("--jobs", type=int, default=2, help="models trained at a time")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where models run")
    add("--ablations", nargs="+", choices=list(ABLATIONS), default=list(ABLATIONS),
        help="train these only; the whole model always")  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Cut crops, train, test, compare."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if parsed.jobs < 1:
        parser.error("--jobs must be at least 1")
    study = Study(parsed.crops, parsed.epochs, parsed.seed)
    chosen = [name for name in ABLATIONS if name in {WHOLE, *parsed.ablations}]
    try:
        open_folder(parsed.output, study)
        data = parsed.output / "data"
        if not blue_marble_crops.is_written(data):
            words = ["--output", data, "--crops", study.crops, "--seed", study.seed]
            if blue_marble_crops.main([str(word) for word in words]):
                return 2
        missing = train_all(
            study, parsed.output, chosen, parsed.minutes, parsed.jobs, parsed.device
        )
        if missing:
            say(f"time is up; still missing: {', '.join(missing)}. Run the command again to go on")
            return 1
        report = parsed.report or parsed.output
        folders = {name: folder_of(parsed.output, name) for name in chosen}
        print(write_report(report, asdict(study), folders, ABLATIONS, parsed.jobs))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say(f"table and plots: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

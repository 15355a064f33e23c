"""Run every benchmark and write what they print, with date and machine, to RESULTS.md.

    python -m benchmarks.record [--photos DIR] [--img2dataset_python P] [--only decode reader]

Figures of a GPU stand in a section of their own, with the card; this script leaves them alone.
"""

import argparse
import datetime
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

from partitioning.atomic_file import atomic_path

RESULTS = Path(__file__).with_name("RESULTS.md")
SCRIPTS = (
    "s2_ids",
    "partition",
    "decode",
    "reader",
    "search",
    "answer",
    "download",
    "pack",
    "verify",
    "index",
    "stream",
    "segment",
    "heads",
    "inference",
    "train_throughput",
    "aggregators",
    "recall",
    "geowarp",
    "panorama",
    "cleaning",
    "collect",
)
# Further runs of a script, each after the one with no arguments of its own.
FURTHER = {
    "download": (
        ("--pause_s", "0.25", "--urls", "6000", "--rows", "10000"),
        ("--short_px", "1536", "--urls", "3000", "--rows", "10000"),
    ),
    "recall": (("--rows", "1000000", "--queries", "10000"),),
}
TAKE_PHOTOS = ("decode", "reader", "stream")
HEAD = """# Measured speed

Written by `python -m benchmarks.record`: what each script printed. The machine is shared: ratios
hold better than absolute figures.
"""


def processor() -> str:
    """The processor's name, and how many of them this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def block(script: str, arguments: list[str], hidden: list[str]) -> str:
    """Run one benchmark; its output under its command, paths of this machine hidden."""
    command = ["-m", f"benchmarks.{script}", *arguments, *hidden]
    print(f"$ python {' '.join(command)}", flush=True)
    answer = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    print(answer.stdout, answer.stderr if answer.returncode else "", sep="", flush=True)
    if answer.returncode:
        raise SystemExit(f"error: benchmarks.{script} failed")
    paths = [argument for argument in hidden if not argument.startswith("--")]
    shown = f"$ python {' '.join(command)}\n{answer.stdout.rstrip()}"
    for path in paths:
        shown = shown.replace(path, "DIR")
    return f"```\n{shown}\n```\n"


def section(script: str, hidden: list[str]) -> str:
    """All runs of one benchmark, with date and machine."""
    blocks = [block(script, list(more), hidden) for more in ((), *FURTHER.get(script, ()))]
    machine = (
        f"{datetime.date.today().isoformat()}, {processor()}, Python {platform.python_version()}, "
        f"torch {torch.__version__.partition('+')[0]}"
    )
    return "\n".join([f"## {script}\n\n{machine}\n", *blocks])


def sections(text: str) -> dict[str, str]:
    """The sections of a results file by their titles, in their order."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}


def main() -> None:
    """Run them, and write each section as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of real photos, for some of them")
    parser.add_argument("--img2dataset_python", type=Path, help="see benchmarks/download.py")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="which to run")
    options = parser.parse_args()
    for name in options.only:
        hidden: list[str] = []
        if options.photos and name in TAKE_PHOTOS:
            hidden = ["--photos", str(options.photos)]
        if options.img2dataset_python and name == "download":
            hidden = ["--img2dataset_python", str(options.img2dataset_python)]
        measured = section(name, hidden)
        known = sections(RESULTS.read_text()) if RESULTS.is_file() else {}
        ordered = {key: known[key] for key in SCRIPTS if key in known} | known | {name: measured}
        with atomic_path(RESULTS) as temporary:
            temporary.write_text("\n".join([HEAD, *ordered.values()]))


if __name__ == "__main__":
    main()

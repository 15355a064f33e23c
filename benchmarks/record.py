"""Run every benchmark and write what they print, with date and machine, to RESULTS.md.

    python -m benchmarks.record [--photos DIR]

Figures of a GPU stand in a section of their own, with the card; this script leaves them alone.
"""

import argparse
import datetime
import platform
import subprocess
import sys
from pathlib import Path

import torch

from partitioning.atomic_file import atomic_path

RESULTS = Path(__file__).with_name("RESULTS.md")
SCRIPTS = ("s2_ids", "partition", "decode", "reader", "search", "answer")
TAKE_PHOTOS = ("decode", "reader")


def processor() -> str:
    """The processor's name, and how many of them this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def section(script: str, arguments: list[str]) -> str:
    """Run one benchmark; its output under its command."""
    command = ["-m", f"benchmarks.{script}", *arguments]
    print(f"$ python {' '.join(command)}", flush=True)
    answer = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    print(answer.stdout, answer.stderr if answer.returncode else "", sep="", flush=True)
    if answer.returncode:
        raise SystemExit(f"error: benchmarks.{script} failed")
    shown = " ".join(arg if not arg.startswith(("/", "..")) else "DIR" for arg in command)
    output = answer.stdout.replace(arguments[1], "DIR") if arguments else answer.stdout
    return f"## {script}\n\n```\n$ python {shown}\n{output.rstrip()}\n```\n"


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of real photos, for decode and reader")
    photos = parser.parse_args().photos
    head = (
        "# Measured speed\n\nWritten by `python -m benchmarks.record`: what each script printed, "
        f"on {datetime.date.today().isoformat()}, {processor()}, Python "
        f"{platform.python_version()}, torch {torch.__version__.partition('+')[0]}. The machine is "
        "shared: ratios hold better than absolute figures.\n"
    )
    parts = [
        section(name, ["--photos", str(photos)] if photos and name in TAKE_PHOTOS else [])
        for name in SCRIPTS
    ]
    with atomic_path(RESULTS) as temporary:
        temporary.write_text("\n".join([head, *parts]))


if __name__ == "__main__":
    main()

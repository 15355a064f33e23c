"""Read the files of a Debian package without installing it and without root.

`apt-get download` and `dpkg-deb -x` only write into a folder of ours. Where the machine's package
lists are empty or know no such package, lists of our own are fetched beside it, because
`apt-get update` on the machine's lists would need root.

Command: python -m setup.debian_package gcompris-qt-data --output DIR
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

# The lists of main and its updates take 20 MB; an unpacked package seldom over 3 times its archive.
LIST_BYTES = 64 << 20
UNPACKED_RATIO = 4
SETTINGS = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"]


class PackageError(RuntimeError):
    """The package cannot be had on this machine; the message says why."""


class Archive(NamedTuple):
    """What apt would download."""

    name: str
    size_bytes: int


def fetch(package: str, output: Path) -> Path:
    """Download and unpack a package once; later calls find it done.

    Args:
        package: its Debian name.
        output: folder to keep it in.

    Returns:
        `output/package`, which holds the package's tree (`usr/share/...`).

    Raises:
        PackageError: no apt or dpkg here, no such package, no network, or no room on the disk.
    """
    output = output.resolve()  # the tools run in a folder of their own
    done = output / package
    if done.is_dir():
        return done
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
        raise PackageError(f"{package!r} is no Debian package name")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackageError(f"{tool} is not on this machine, so {package} cannot be read")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=output) as folder:
        work = Path(folder)
        settings, archive = _find(package, work)
        _need_room(output, archive.size_bytes * (1 + UNPACKED_RATIO))
        _download(package, archive, settings, work)
        (deb,) = work.glob("*.deb")
        _run(["dpkg-deb", "-x", str(deb), str(work / "tree")], work, f"unpacking {deb.name}")
        (work / "tree").replace(done)
    return done


def _find(package: str, work: Path) -> tuple[list[str], Archive]:
    """Ask the machine's own lists, then private ones fetched for this call."""
    archive = _archive(package, SETTINGS, work)
    if archive is not None:
        return SETTINGS, archive
    _need_room(work, LIST_BYTES)
    private = [*SETTINGS, *_private_state(work / "apt")]
    print(f"the package lists here do not know {package}; fetching lists of our own ...")
    update = _apt(["update", "-q"], private, work)
    # One dead third-party source makes update fail while Debian's own lists have arrived.
    archive = _archive(package, private, work)
    if archive is None:
        why = f": {_last_line(update.stderr)}" if update.returncode else ""
        raise PackageError(f"apt's sources hold no package {package}{why}")
    return private, archive


def _private_state(folder: Path) -> list[str]:
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    return ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]


def _archive(package: str, settings: list[str], work: Path) -> Archive | None:
    reply = _apt(["download", "--print-uris", package], settings, work)
    match = re.search(r"^'\S+' (\S+) (\d+) ", reply.stdout, flags=re.MULTILINE)
    return Archive(match[1], int(match[2])) if match else None


def _download(package: str, archive: Archive, settings: list[str], work: Path) -> None:
    """Let apt download (it checks the archive's hash) while its growing file drives a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    log = work / "apt.log"
    with Progress(*columns, TransferSpeedColumn()) as progress, log.open("w") as sink:
        task = progress.add_task(f"downloading {archive.name}", total=archive.size_bytes)
        command = ["apt-get", *settings, "download", package]
        process = subprocess.Popen(command, cwd=work, stdout=sink, stderr=sink, env=_environment())
        try:
            while process.poll() is None:
                progress.update(task, completed=_bytes_so_far(work))
                time.sleep(0.2)
        finally:
            process.kill()
        progress.update(task, completed=_bytes_so_far(work))
    if process.returncode or not list(work.glob("*.deb")):
        why = _last_line(log.read_text(errors="replace"))
        raise PackageError(f"downloading {archive.name} failed: {why}")


def _bytes_so_far(work: Path) -> int:
    return sum(path.stat().st_size for path in work.glob("*.deb*"))


def _apt(words: list[str], settings: list[str], work: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *settings, *words], cwd=work, capture_output=True, text=True, env=_environment()
    )


def _run(command: list[str], work: Path, doing: str) -> None:
    reply = subprocess.run(command, cwd=work, capture_output=True, text=True, env=_environment())
    if reply.returncode:
        raise PackageError(f"{doing} failed: {_last_line(reply.stderr)}")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # apt's messages are read above


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or ["no word of why"])[-1]


def _need_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise PackageError(
            f"{folder} has {free_bytes >> 20} MiB free and {needed_bytes >> 20} MiB are needed"
        )


def main() -> None:
    """Fetch one package and print where its files are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", help="Debian name of the package")
    parser.add_argument("--output", type=Path, required=True, help="folder to unpack it in")
    arguments = parser.parse_args()
    try:
        print(fetch(arguments.package, arguments.output))
    except (PackageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

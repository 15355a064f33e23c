"""Download the photos of a CSV of ids and URLs.

    python -m setup.download_images --url_csv urls.csv --output DIR --contact you@example.org

Dead links are normal in such lists: every row ends in DIR/report.csv with its cause, and the
count of each cause is printed. A photo lies at DIR/<key>.jpg, where the key is the id with dots
and slashes encoded (`data.sample.safe_key`); its short side is `--size` pixels, it is upright and
has no EXIF. With `--resume`, photos that are there are kept and what is gone (404, 410 in the
report) is not asked for again. A killed run leaves whole photos, but no report.

Careful by default: limits on bytes, pixels, time and redirects; public addresses only
(`setup/address_guard.py`); a User-Agent that says whom to write to.
"""

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.images import ImageError
from partitioning.atomic_file import atomic_path
from setup.download_plan import Job, plan
from setup.download_progress import show_progress, summary
from setup.download_report import Report, Row, by_key, read_rows
from setup.download_settings import Settings, parse_arguments
from setup.fetch import FetchError, fetch, open_client
from setup.small_jpeg import as_small_jpeg
from setup.url_list import read_url_list

REPORT = "report.csv"


def download(
    rows: Iterable[tuple[str, str]],
    output: Path,
    settings: Settings | None = None,
    resume: bool = True,
    shuffle: bool = False,
) -> Report:
    """Download photos and write `output/report.csv`, also when interrupted.

    Not for use inside a running event loop.

    Args:
        rows: (id, url).
        output: folder of the photos, made if it is not there.
        settings: the defaults where None.
        resume: keep photos that are there, and do not ask again for what is gone.
        shuffle: ask in random order, which spreads the load over the list's servers.

    Returns:
        What became of each row; failures are rows, not exceptions.

    Raises:
        ValueError: `output` holds photos and `resume` is not set, or a setting is unusable.
        OSError: `output` cannot be written to.
    """
    settings = settings or Settings()
    earlier = _earlier_rows(output, resume)
    there = {path.stem for path in output.glob("*.jpg")} if resume else set()
    results: dict[int, Row] = {}
    rows = list(rows)
    jobs = list(plan(rows, settings.size_suffix, earlier, output, there, results))
    kept = sum(not row.error for row in results.values())
    if shuffle:
        random.Random(0).shuffle(jobs)
    try:
        asyncio.run(_download_all(jobs, output, settings, results))
    finally:
        done = [results[at] for at in sorted(results)]
        keys = {row.key for row in done}
        done += [row for key, row in earlier.items() if key not in keys and _holds(row, there)]
        report = Report(done, kept, unasked=len(rows) - len(results))
        report.write(output / REPORT)
    return report


def _earlier_rows(output: Path, resume: bool) -> dict[str, Row]:
    """Rows of the last run, by key."""
    if not resume and (any(output.glob("*.jpg")) or (output / REPORT).exists()):
        raise ValueError(
            f"{output} holds photos already; go on with --resume or take an empty folder"
        )
    output.mkdir(parents=True, exist_ok=True)
    return by_key(read_rows(output / REPORT))


def _holds(row: Row, there: set[str]) -> bool:
    """Whether an earlier row is still true; the photo may have been removed since."""
    return bool(row.error) or row.key in there


async def _download_all(
    jobs: list[Job], output: Path, settings: Settings, results: dict[int, Row]
) -> None:
    queue = iter(jobs)
    # Names are resolved in the loop's own threads; a slow name server must not hold up decoding.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.workers))
    with show_progress(len(jobs)) as advance, ThreadPoolExecutor(os.cpu_count()) as decoders:
        client = open_client(
            settings.limits, settings.workers, settings.contact, settings.allow_private
        )

        async def work() -> None:
            for job in queue:
                try:
                    data = await fetch(client, job.url, settings.limits)
                    row = await asyncio.get_running_loop().run_in_executor(
                        decoders, _save, data, job, output, settings
                    )
                except FetchError as error:
                    row = Row(job.key, job.url, error.status, str(error))
                results[job.at] = row
                advance(row)

        async with client:
            await _run_together([work() for _ in range(min(settings.workers, len(jobs)))])


async def _run_together(workers: list[Coroutine[None, None, None]]) -> None:
    """Run to the end of all, or to the first error (a full disk), which stops the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _save(data: bytes, job: Job, output: Path, settings: Settings) -> Row:
    try:
        jpeg, width, height = as_small_jpeg(data, job.key, settings.size, settings.max_pixels)
    except ImageError as error:
        return Row(job.key, job.url, 200, f"bad image: {error}")
    with atomic_path(output / f"{job.key}.jpg") as temporary:
        temporary.write_bytes(jpeg)
    return Row(job.key, job.url, 200, "", width, height, hashlib.sha256(jpeg).hexdigest())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 if not one photo could be had."""
    options = parse_arguments(arguments, __doc__)
    try:
        settings = Settings.of(options)
        rows = read_url_list(options.url_csv)
        report = download(rows, options.output, settings, options.resume, options.shuffle)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        return 130
    print(summary(report, str(options.output)))
    return 0 if report.photos else 1


if __name__ == "__main__":
    sys.exit(main())

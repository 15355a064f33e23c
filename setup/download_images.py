"""Download the photos of a CSV of ids and URLs.

    python -m setup.download_images --url_csv urls.csv --output DIR --contact you@example.org
    python -m setup.download_images --url_csv urls.csv --csv photos.csv --output DIR --shards
    python -m setup.download_images --output DIR --refresh

A photo lies at DIR/<key>.jpg, where the key is the id with dots and slashes encoded
(`data.sample.safe_key`), or with `--shards` in shards of the Sample contract, which
`python -m data.shards verify DIR` checks. Its short side is `--size` pixels, it is upright and has
no EXIF. Dead links are normal in such lists: every row ends in DIR/report.csv with its cause, and
the count of each cause is printed.

DIR/ledger.sqlite knows what became of every URL, so a download that was stopped or killed goes on
with `--resume`, and repeats nothing that had finished. One that went to its end asks anew for what
failed, but not for what is gone (404, 410) or opted out. `--refresh` asks whether the photos that
are there may still be had, and removes those that may not.

Careful by default: limits on bytes, pixels, time and redirects; few requests at a time to one host,
and none while it asks for a pause; X-Robots-Tag obeyed; public addresses only
(`setup/downloading/address_guard.py`); a User-Agent that says whom to write to.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from data.sharding.index_tables import sha256
from setup.downloading.course import FOUND, Course
from setup.downloading.ledger import LEDGER, Ledger
from setup.downloading.ledger_list import (
    REMOVED,
    add_list,
    add_metadata,
    adopt,
    begin,
    end,
    source_of,
)
from setup.downloading.ledger_report import count_due, count_there, report_rows
from setup.downloading.photo_folder import PhotoFolder
from setup.downloading.photo_shards import PhotoShards
from setup.downloading.progress import show_progress, summary
from setup.downloading.record import UNCHECKED, Store
from setup.downloading.report import Report, by_key, read_rows, write_rows
from setup.downloading.settings import Settings, parse_arguments
from setup.downloading.url_list import read_url_list
from setup.packing.metadata_csv import read_metadata

REPORT = "report.csv"


def download(
    rows: Iterable[tuple[str, str]] | None,
    output: Path,
    settings: Settings | None = None,
    resume: bool = True,
    shuffle: bool = False,
    refresh: bool = False,
    samples_per_shard: int = 0,
    metadata: Iterable[tuple[str, str, str]] = (),
    source: str = "",
) -> Report:
    """Download photos and write `output/report.csv`, also when interrupted.

    Not for use inside a running event loop.

    Args:
        rows: (id, url), taken one by one; None for those of the last time.
        output: folder of the photos, made if it is not there.
        settings: the defaults where None.
        resume: go on with what is there.
        shuffle: ask in the order of a hash of the ids, which spreads the load over the list's
            servers and the list's places over the shards.
        refresh: ask also whether the photos that are there may still be had.
        samples_per_shard: of the list's rows; 0 for a folder of photos instead of shards.
        metadata: for shards, (id, JSON, problem) as of `setup.packing.metadata_csv.read_metadata`;
            a photo without a position is refused.
        source: what tells these rows and metadata from others; they are not read again where the
            ledger has read those of this name to their end.

    Returns:
        What became of each row; failures are rows, not exceptions.

    Raises:
        ValueError: `output` holds photos and `resume` is not set, or holds something else, or a
            setting is unusable.
        OSError: `output` cannot be written to.
    """
    settings = settings or Settings()
    is_new = _check_folder(output, resume or refresh, samples_per_shard)
    earlier = by_key(read_rows(output / REPORT)) if is_new else {}
    with Ledger(output, samples_per_shard) as ledger:
        adopt(ledger, earlier.values())
        known = source_of(ledger)
        if rows is None and not known:
            raise ValueError(f"{output}: no list was read to its end; give its --url_csv again")
        is_same = rows is None or source == known != ""
        number = begin(ledger, refresh, is_same)
        if rows is not None and not is_same:
            add_metadata(ledger, number, metadata)
            add_list(ledger, number, rows, settings.size_suffix, shuffle, source)
        return _ask_for_all(ledger, number, settings)


def _check_folder(output: Path, resume: bool, samples_per_shard: int) -> bool:
    """Whether the folder has no ledger yet; raises ValueError where it may not be used so."""
    is_new = not (output / LEDGER).exists()
    kinds = {"photos": "*.jpg", "shards": "*.tar"}
    held = [kind for kind, pattern in kinds.items() if any(output.glob(pattern))]
    if not resume and (held or not is_new or (output / REPORT).exists()):
        what = held[0] if held else "a download"
        raise ValueError(
            f"{output} holds {what} already; go on with --resume or take an empty folder"
        )
    if is_new and ((samples_per_shard and held) or "shards" in held):
        raise ValueError(f"{output} holds {held[0]}, but no {LEDGER}; take an empty folder")
    return is_new


def _ask_for_all(ledger: Ledger, number: int, settings: Settings) -> Report:
    store: Store = PhotoShards(ledger) if ledger.samples_per_shard else PhotoFolder(ledger)
    lost = store.check()
    kept = count_there(ledger, number)
    tally: Counter[str] = Counter()
    try:
        with show_progress(count_due(ledger)) as advance:
            course = Course(ledger, store, settings, advance)
            tally = course.tally
            asyncio.run(course.run())
            store.close()
        end(ledger)
    finally:
        causes = write_rows(report_rows(ledger), ledger.directory / REPORT)
    return Report(
        ledger.directory / REPORT,
        photos=causes.pop("", 0),
        kept=kept + tally[FOUND] - tally[REMOVED],
        causes=causes,
        unasked=count_due(ledger, with_refresh=False),
        removed=tally[REMOVED],
        unchecked=tally[UNCHECKED],
        lost=lost,
    )


def _source(options: argparse.Namespace) -> str:
    """What tells the lists of a command line from others: their bytes, and the size asked for."""
    files = [path for path in (options.url_csv, options.csv) if path]
    return " ".join([*map(sha256, files), options.size_suffix])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 if not one photo could be had."""
    options = parse_arguments(arguments, __doc__)
    unreadable: Counter[str] = Counter()
    if not options.contact:
        print("note: say with --contact whom a server's owner may write to", file=sys.stderr)
    try:
        settings = Settings.of(options)
        report = download(
            read_url_list(options.url_csv) if options.url_csv else None,
            options.output,
            settings,
            options.resume,
            options.shuffle,
            options.refresh,
            options.samples_per_shard if options.shards else 0,
            read_metadata(options.csv or options.url_csv, unreadable) if options.shards else (),
            _source(options),
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        return 130
    print(summary(report, str(options.output), unreadable))
    return 0 if report.photos else 1


if __name__ == "__main__":
    sys.exit(main())

"""The progress of a download: a bar, the rate, the time left, and why photos did not come."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from setup.downloading.report import Report

SHOWN_CAUSES = 3
LINE_EVERY_S = 30.0  # where stderr is a file
UPDATE_EVERY_S = 0.2
RATE_OVER_S = 60.0


class Pace:
    """How far a download is, by a clock in seconds.

    Args:
        total: rows to ask for.
        now_s: the time at the start.
    """

    def __init__(self, total: int, now_s: float) -> None:
        self.total, self.done = total, 0
        self.failures: Counter[str] = Counter()
        self._marks = [(now_s, 0)]

    def advance(self, cause: str) -> None:
        """Count a row, by its cause; "" for a photo."""
        self.done += 1
        if cause:
            self.failures[cause] += 1

    def rate(self, now_s: float) -> float:
        """Rows a second over the last minute, or since the start."""
        if now_s - self._marks[-1][0] > RATE_OVER_S / 2:
            self._marks = [*self._marks[-1:], (now_s, self.done)]
        start_s, done = self._marks[0]
        return (self.done - done) / max(now_s - start_s, 1e-9)

    def text(self, now_s: float) -> str:
        """Rate, time left and causes."""
        rate = self.rate(now_s)
        parts = [f"{rate:,.0f}/s"]
        if rate:
            parts.append(f"{timedelta(seconds=round((self.total - self.done) / rate))} left")
        return "; ".join([*parts, counted(self.failures, SHOWN_CAUSES)]).removesuffix("; ")


@contextmanager
def show_progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr, or lines where that is no terminal.

    Yields what is to be called with the cause of each row that is done, "" for a photo.
    """
    console = Console(stderr=True)
    pace, shown_s = Pace(total, time.monotonic()), time.monotonic()
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TextColumn("{task.description}"), console=console)
    every_s = UPDATE_EVERY_S if console.is_terminal else LINE_EVERY_S

    def advance(cause: str) -> None:
        nonlocal shown_s
        pace.advance(cause)
        now_s = time.monotonic()
        if now_s - shown_s < every_s and pace.done < total:
            return
        shown_s = now_s
        if console.is_terminal:
            bar.update(task, completed=pace.done, description=pace.text(now_s))
        else:
            console.print(f"photos {pace.done:,}/{total:,} {pace.text(now_s)}", soft_wrap=True)

    bar.disable = not console.is_terminal
    with bar:
        task = bar.add_task("", total=total)
        yield advance


def summary(report: Report, folder: str, unreadable: Counter[str] | None = None) -> str:
    """What came of a download, in a few lines.

    Args:
        report: of it.
        folder: where the photos are.
        unreadable: how many values of each column were left out of the photos' metadata.
    """
    failed = report.failures()
    kept = f" ({report.kept:,} of them were there before)" if report.kept else ""
    lines = [
        f"{report.photos:,} of {report.photos + failed.total():,} photos are in {folder}{kept}"
    ]
    if failed:
        lines.append(f"not had: {counted(failed)}; each one in {folder}/report.csv")
    notes = {
        "removed, because they are not to be had any more": report.removed,
        "kept, though nobody could tell whether they are still to be had": report.unchecked,
        "had gone from the folder and were asked for again": report.lost,
        "not asked for yet; go on with --resume": report.unasked,
    }
    notes |= {f"{name} unreadable, left out": n for name, n in (unreadable or {}).items()}
    return "\n".join([*lines, *(f"{count:,} {note}" for note, count in notes.items() if count)])


def counted(failures: Counter[str], most: int | None = None) -> str:
    """Counts by cause, the most frequent first."""
    return ", ".join(f"{count:,} {cause}" for cause, count in failures.most_common(most))

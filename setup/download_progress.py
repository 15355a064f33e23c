"""The progress of a download: a bar, how many photos came, and why the others did not."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from setup.download_report import Report, Row

SHOWN_CAUSES = 3


@contextmanager
def show_progress(total: int) -> Iterator[Callable[[Row], None]]:
    """Show a bar on stderr; yields what is to be called with each row that is done."""
    failures: Counter[str] = Counter()
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=total)

        def advance(row: Row) -> None:
            if row.error:
                failures[row.cause] += 1
            progress.update(task, advance=1, description=_counted(failures, SHOWN_CAUSES))

        yield advance


def summary(report: Report, folder: str) -> str:
    """What came of a download, in a few lines."""
    kept = f" ({report.kept:,} of them were there before)" if report.kept else ""
    lines = [f"{report.photos:,} of {len(report.rows):,} photos are in {folder}{kept}"]
    if failures := report.failures():
        lines.append(f"not had: {_counted(failures)}; each one in {folder}/report.csv")
    if report.unasked:
        lines.append(f"not asked for yet: {report.unasked:,}; go on with --resume")
    return "\n".join(lines)


def _counted(failures: Counter[str], most: int | None = None) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in failures.most_common(most))

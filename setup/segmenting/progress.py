"""The progress of segmenting: a bar on stderr, photos a second, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Photos a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        """Show the rate, if it is known yet."""
        return Text(f"{task.speed:,.1f}/s" if task.speed else "")


@contextmanager
def show_photos(total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar; yields what is to be called with each number of photos that are done."""
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), RateColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda count: progress.advance(task, count)

"""The progress of the listing: boxes done of those known so far, photos found, failures."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from setup.downloading.progress import LINE_EVERY_S, UPDATE_EVERY_S, Pace


@contextmanager
def show_listing(total: int, count: Callable[[], int]) -> Iterator[Callable[[int, str], None]]:
    """Show a bar on stderr, or lines where that is no terminal.

    Args:
        total: boxes that are due.
        count: tells how many photos there are so far.

    Yields:
        What is to be called after each page with the number of searches that follow from it, and
        the cause of its failure, if it failed.
    """
    console = Console(stderr=True)
    pace, shown_s = Pace(total, time.monotonic()), time.monotonic()
    columns = (TextColumn("searches"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TextColumn("{task.description}"), console=console)
    every_s = UPDATE_EVERY_S if console.is_terminal else LINE_EVERY_S

    def advance(following: int, cause: str) -> None:
        nonlocal shown_s
        pace.total += following
        pace.advance(cause)
        now_s = time.monotonic()
        if now_s - shown_s < every_s and pace.done < pace.total:
            return
        shown_s = now_s
        told = f"{count():,} photos; {pace.text(now_s)}"
        if console.is_terminal:
            bar.update(task, completed=pace.done, total=pace.total, description=told)
        else:
            console.print(f"searches {pace.done:,}/{pace.total:,} {told}", soft_wrap=True)

    bar.disable = not console.is_terminal
    with bar:
        task = bar.add_task("", total=total)
        yield advance

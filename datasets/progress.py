"""A progress bar on standard error for what a data set does before it can give frames."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)


LINE_SECONDS = 30  # between two lines where there is no terminal
Show = Callable[[int, int], None]  # called with how much is done, and of how much


@contextmanager
def progress_bar(title: str) -> Iterator[Show]:
    """Yields `show(done, total)`. The bar appears when it is first called, and goes at the end.

    Where there is no terminal, a line is written now and then.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines(title, console)
        return
    with Progress(*COLUMNS, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield show


def _lines(title: str, console: Console) -> Show:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            console.print(f"{title}: {done}/{total}", soft_wrap=True)

    return show

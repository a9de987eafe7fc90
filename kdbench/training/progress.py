"""Progress of a training: a bar on a terminal, a line now and then elsewhere."""

import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdbench.training.tensorboard import TensorBoard

LINE_SECONDS = 30  # between two lines where there is no terminal


class Reporter:
    """Tells a person what goes on; writes to standard error, and to TensorBoard if it is given."""

    def __init__(self, quiet: bool = False, board: TensorBoard | None = None):
        self.console = Console(stderr=True, highlight=False, quiet=quiet)
        self.board = board

    def events(self, folder: Path, step: int):
        """A context that yields `write(step, losses, seconds)` for a training's TensorBoard."""
        return self.board.training(folder, step) if self.board else nullcontext(lambda *_: None)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, title: str, total: int, start: int = 0):
        """Yields a function to call as `advance(losses_by_name)` after each step."""
        if not self.console.is_terminal or self.console.quiet:
            yield _Lines(self, title, total, start)
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[losses]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(title, total=total, completed=start, losses="")
            yield lambda losses=None: progress.update(
                task, advance=1, losses=format_losses(losses or {})
            )


class _Lines:
    def __init__(self, reporter: Reporter, title: str, total: int, start: int):
        self.reporter, self.title, self.total, self.done = reporter, title, total, start
        self.first = start
        self.begun = self.last = time.monotonic()

    def __call__(self, losses=None) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.last < LINE_SECONDS and self.done < self.total:
            return
        self.last = now
        left = (now - self.begun) / (self.done - self.first) * (self.total - self.done)
        self.reporter.say(
            f"{self.title}: {self.done}/{self.total}, {left:.0f} s left "
            f"{format_losses(losses or {})}"
        )


def format_losses(losses: dict[str, float]) -> str:
    """`cls 0.41 box 0.52 kd 0.12`."""
    return " ".join(f"{name} {value:.3g}" for name, value in losses.items())

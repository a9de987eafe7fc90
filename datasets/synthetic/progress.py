"""Making frames with a progress bar on standard error."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdbench.datasets.synthetic.generate import generate

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)


def generate_visibly(
    root: Path | str, seed: int, train_frames: int, val_frames: int, workers: int | None = None
) -> int:
    """`generate.generate`, and a bar while frames are being made; nothing when all are there."""
    with Progress(*COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("synthetic frames", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        return generate(root, seed, train_frames, val_frames, workers, show)

"""Making frames with a progress bar on standard error."""

from pathlib import Path

from kdbench.datasets.progress import progress_bar
from kdbench.datasets.synthetic.generate import generate


def generate_visibly(
    root: Path | str, seed: int, train_frames: int, val_frames: int, workers: int | None = None
) -> int:
    """`generate.generate`, and a bar while frames are being made; nothing when all are there."""
    with progress_bar("synthetic frames") as show:
        return generate(root, seed, train_frames, val_frames, workers, show)

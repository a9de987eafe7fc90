"""Losses, rates and results as events for TensorBoard (extra `tensorboard`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.runs.records import Record

RATES = ("lr", "grad_norm")  # what the log holds beside losses
MODERATE = 1  # of easy, moderate, hard


class TensorBoard:
    """Writes events into the folder `tensorboard` of each run that it sees in training."""

    def __init__(self):
        """Raises UsageError, with what to install, when TensorBoard is not there."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError(
                "--tensorboard: TensorBoard is not there; pip install 'kdbench[tensorboard]'"
            ) from None
        self._writer = SummaryWriter
        self.folders: set[Path] = set()

    @contextmanager
    def training(self, folder: Path, step: int) -> Iterator:
        """Yields `write(step, losses, seconds)`. Events after `step`, of a run that was killed, go.

        `losses` also hold the learning rate and the norm of the gradient.
        """
        self.folders.add(folder)
        with self._writer(events_folder(folder), purge_step=step + 1) as writer:

            def write(step: int, losses: dict[str, float], seconds: float) -> None:
                for name, value in losses.items():
                    part = "train" if name in RATES else "loss"
                    writer.add_scalar(f"{part}/{name}", value, step)
                writer.add_scalar("train/seconds_per_step", seconds, step)

            yield write

    def result(self, record: Record, folder: Path) -> None:
        """Adds the AP of a run, in percent, if its training was seen."""
        if folder not in self.folders:
            return
        metrics, step = record["metrics"], record["training"]["steps"]
        with self._writer(events_folder(folder)) as writer:
            for name in ("bev_map", "3d_map"):
                writer.add_scalar(f"AP/{name}", metrics[name], step)
            for label, by_metric in metrics["kitti"].items():
                for metric in ("bev", "3d"):
                    value = by_metric[metric]["R40"][MODERATE]
                    writer.add_scalar(f"AP/{label}_{metric}", value, step)


def events_folder(folder: Path) -> Path:
    """Where a run's events lie."""
    return folder / "tensorboard"

"""A batch among processes: each prepares and computes its share, and knows the whole.

The share of process k of P are the frames k n / P to (k + 1) n / P of a batch of n. A batch of
fewer frames than processes is not shared: every process computes all of it, with equal results.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from kdbench.dataset import Batch, Dataset, DeviceFrames, Frame
from kdbench.errors import KdbenchError
from kdbench.training import processes
from kdbench.training.data import epoch_order, training_batches


def is_shared(frames: int) -> bool:
    """Whether a batch of so many frames is computed in shares."""
    return 1 < processes.size() <= frames


def own_frames(frames: int) -> range:
    """Which frames of a batch this process computes."""
    if not is_shared(frames):
        return range(frames)
    k, count = processes.number(), processes.size()
    return range(k * frames // count, (k + 1) * frames // count)


def own_share(batch: Batch) -> Batch:
    """This process's share of a batch, its frames numbered from 0."""
    if not is_shared(len(batch)):
        return batch
    mine = own_frames(len(batch))
    frame = batch.points[:, 0]
    points = batch.points[(frame >= mine.start) & (frame < mine.stop)]
    points = torch.cat([points[:, :1] - mine.start, points[:, 1:]], dim=1)
    own = slice(mine.start, mine.stop)
    return replace(
        batch, ids=batch.ids[own], points=points, boxes=batch.boxes[own], labels=batch.labels[own]
    )


def shared_batches(
    dataset: Dataset,
    seed: int,
    epoch: int,
    batch_size: int,
    skip: int = 0,
    on_device: DeviceFrames | None = None,
) -> Iterator[Batch]:
    """The batches of `training_batches`, in every process; each has prepared its own frames only.

    Several processes prepare them on the CPU.

    The KdbenchError of a process that cannot prepare a frame ends all of them.
    """
    if processes.size() == 1:
        yield from training_batches(dataset, seed, epoch, batch_size, skip, on_device)
        return
    own = OwnFrames(dataset, seed, epoch, batch_size)
    for mine in _or_error(training_batches(own, seed, epoch, batch_size, skip)):
        parts = processes.gathered(mine)
        for error in parts:
            if isinstance(error, KdbenchError):
                raise error
        yield merged(parts) if is_shared(len(mine)) else mine


def _or_error(batches: Iterator[Batch]) -> Iterator[Batch | KdbenchError]:
    """Batches, and an error as the last of them."""
    try:
        yield from batches
    except KdbenchError as error:
        yield error


class OwnFrames:
    """A data set, as `training_batches` needs one, in which other processes' frames are empty."""

    def __init__(self, dataset: Dataset, seed: int, epoch: int, batch_size: int):
        self.dataset = dataset
        order = epoch_order(dataset.ids("train"), seed, epoch)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        self.own = {batch[k] for batch in batches for k in own_frames(len(batch))}

    def ids(self, split: str) -> list[str]:
        return self.dataset.ids(split)

    def training_frame(self, frame_id: str, rng: np.random.Generator) -> Frame:
        if frame_id in self.own:
            return self.dataset.training_frame(frame_id, rng)
        points, boxes = np.zeros((0, 4), np.float32), np.zeros((0, 7), np.float32)
        return Frame(frame_id, points, boxes, np.zeros(0, np.int64), None, (0, 0))


def merged(parts: list[Batch]) -> Batch:
    """One batch of batches of the same frames, each frame empty in all but one of them."""
    return Batch(
        ids=parts[0].ids,
        points=torch.cat([part.points for part in parts]),
        boxes=[torch.cat(frame) for frame in zip(*(p.boxes for p in parts), strict=True)],
        labels=[torch.cat(frame) for frame in zip(*(p.labels for p in parts), strict=True)],
    )

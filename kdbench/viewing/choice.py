"""Which frames are worth a picture: those where two runs differ most, one way and the other."""

from collections.abc import Mapping, Sequence

from kdbench.dataset import Dataset
from kdbench.errors import DataError
from kdbench.viewing.scene import Shown, make_scene

# Said wherever such a frame is shown, so that nobody takes it for a typical one.
HOW = "the frames where hits less false alarms differ most from those of `none`, either way"


def differing_frames(
    dataset: Dataset, run: Shown, other: Shown, score: float, point_range
) -> list[str]:
    """Two frames: where `run` is most ahead of `other`, and where it is most behind.

    A frame counts its hits less its false alarms (`evaluation/outcomes.py`). Of equal frames the
    first in the split is taken. Raises DataError when the runs have no frame in common.
    """
    ids = [i for i in dataset.ids("val") if i in run.found and i in other.found]
    if not ids:
        raise DataError(f"{run.title} and {other.title} have detections of no frame in common")
    ahead = {i: _ahead(dataset, i, (run, other), score, point_range) for i in ids}
    return extremes(ahead)


def extremes(ahead: Mapping[str, int]) -> list[str]:
    """The keys of the largest and of the smallest value, the first ones of equals."""
    best, worst = max(ahead, key=ahead.get), min(ahead, key=ahead.get)
    return list(dict.fromkeys([best, worst]))


def _ahead(dataset: Dataset, frame_id: str, runs: Sequence[Shown], score, point_range) -> int:
    scene = make_scene(dataset, frame_id, runs, score, point_range)
    own, other = (p.outcome.hits - p.outcome.false_alarms for p in scene.panels)
    return own - other

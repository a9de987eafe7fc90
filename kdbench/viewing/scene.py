"""What a picture shows: one frame, its ground truth, and what some runs detect in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.dataset import Dataset, Frame
from kdbench.detector import Detections
from kdbench.errors import DataError
from kdbench.evaluation.outcomes import Outcome, outcome
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import load_detections
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import ignore_outside, kitti_results


@dataclass(frozen=True)
class Shown:
    """A run in a picture: what it is called, and its detections by frame."""

    title: str
    found: dict[str, Detections]


@dataclass(frozen=True)
class Panel:
    """What one run detects in the frame, above a score."""

    title: str
    boxes: np.ndarray  # (m, 7) LiDAR frame
    scores: np.ndarray  # (m,)
    outcome: Outcome


@dataclass(frozen=True)
class Scene:
    """One frame with a panel a run."""

    frame: Frame
    point_range: tuple[float, ...]  # x0, y0, z0, x1, y1, z1 in metres, LiDAR frame
    truth: np.ndarray  # (n, 7) labelled objects, LiDAR frame
    panels: tuple[Panel, ...]
    score: float
    image: Path | None  # the camera's picture


def runs_to_show(spec: RunSpec) -> tuple[list[Shown], list[str]]:
    """Teacher, `none` and the run itself, and a line for each whose detections are not there."""
    wanted = {"teacher": spec.teacher_run(), "none": spec.baseline(), spec.method.name: spec}
    found, absent = [], []
    for title, run in {run.hash: (title, run) for title, run in wanted.items() if run}.values():
        try:
            found.append(Shown(title, load_detections(run)))
        except DataError as error:
            absent.append(f"{title} is left out: {error}")
    return found, absent


def frames_of(spec: RunSpec, data_root: str | None = None) -> tuple[Dataset, tuple[float, ...]]:
    """The data set of a run, and what of it the run's detector sees.

    Raises DataError when the frames are not those that the run was scored on.
    """
    dataset = build_dataset(spec, data_root)
    found, wanted = dataset.fingerprint(), spec.dataset.fingerprint
    if found != wanted:
        raise DataError(f"data set {spec.dataset.name}: frames {found}, the run's are {wanted}")
    return dataset, build_detector(spec.detector, classes_of(spec.dataset)).point_range


def make_scene(
    dataset: Dataset, frame_id: str, runs: Sequence[Shown], score: float, point_range
) -> Scene:
    """The scene of a frame. Raises DataError when a run has no detections of it."""
    frame = dataset.frame(frame_id)
    objects = ignore_outside(dataset.objects(frame_id), frame.calibration, point_range)
    objects = objects.select(objects.names != "DontCare")  # which have no place in space
    panels = [_panel(dataset, frame, objects, run, score) for run in runs]
    return Scene(
        frame=frame,
        point_range=tuple(point_range),
        truth=in_lidar(objects, frame.calibration),
        panels=tuple(panels),
        score=score,
        image=image_of(dataset, frame_id),
    )


def in_lidar(objects: KittiObjects, calibration: Calibration) -> np.ndarray:
    """Boxes (n, 7) of the objects in the LiDAR frame."""
    return boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)


def image_of(dataset: Dataset, frame_id: str) -> Path | None:
    """The left colour image of a frame, where a data set in KITTI's folders has one."""
    root = getattr(dataset, "root", None)
    path = Path(root or "") / "training" / "image_2" / f"{frame_id}.png"
    return path if root and path.is_file() else None


def above(found: Detections, score: float) -> Detections:
    """The detections of at least a score."""
    kept = found.scores >= score
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept])


def _panel(dataset: Dataset, frame: Frame, objects: KittiObjects, run: Shown, score) -> Panel:
    if frame.id not in run.found:
        raise DataError(f"frame {frame.id}: {run.title} has no detections of it")
    found = kitti_results(dataset, {frame.id: above(run.found[frame.id], score)})[frame.id]
    return Panel(
        title=run.title,
        boxes=in_lidar(found, frame.calibration),
        scores=found.score,
        outcome=outcome(objects, found, dataset.kinds),
    )

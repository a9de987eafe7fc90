"""Scoring a trained detector on the validation frames."""

import numpy as np
import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detections, Detector
from kdbench.errors import DataError
from kdbench.evaluation.agreement import agreement
from kdbench.evaluation.bands import traits
from kdbench.evaluation.breakdown import breakdown
from kdbench.evaluation.calibration_error import calibration
from kdbench.evaluation.filled_ap import filled_ap
from kdbench.evaluation.filled_ap import mean_ap as mean_over_classes
from kdbench.evaluation.kitti_ap import match
from kdbench.evaluation.resample import pack, resampled_ap
from kdbench.evaluation.to_kitti import to_kitti
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import load_detections
from kdbench.training.data import evaluation_batches
from kdbench.training.progress import Reporter

BATCH = 4
SPLITS = {"train": ("train",), "val": ("val",), "all": ("train", "val")}
OUT_OF_RANGE = 3  # an occlusion level that no difficulty admits


@torch.inference_mode()
def detect(
    detector: Detector,
    dataset: Dataset,
    device: torch.device,
    reporter: Reporter,
    split: str = "val",
) -> dict[str, Detections]:
    """Detections on every frame of a split (train, val or all), on the CPU."""
    detector.eval()
    ids = [frame_id for each in SPLITS[split] for frame_id in dataset.ids(each)]
    found = {}
    with reporter.bar(f"  detecting on {split}", len(ids)) as advance:
        for batch in evaluation_batches(dataset, ids, BATCH):
            taps = detector(detector.prepare(batch.to(device)))
            for frame_id, d in zip(batch.ids, detector.predict(taps), strict=True):
                found[frame_id] = Detections(d.boxes.cpu(), d.scores.cpu(), d.labels.cpu())
                advance()
    return found


def score(
    dataset: Dataset,
    found: dict[str, Detections],
    point_range,
    teacher: dict[str, Detections] | None = None,
) -> dict:
    """KITTI AP of detections, the headline means over classes, and what lies behind them.

    `kitti` has the structure of `evaluation.kitti_ap.evaluate` and equals the development kit's
    figures; `ap` is what runs are compared by (`evaluation/filled_ap.py`), `bev_map` and `3d_map`
    are its means over the classes, in percent;
    `resamples` holds AP over resampled frames, see `evaluation/resample.py`; `breakdown` is AP by
    band and `calibration` the error of the scores, see the files of these names in `evaluation`;
    `agreement` is that with the detections of the `teacher`, None without them.
    Objects whose centre is outside `point_range` are neither hits nor misses: a profile that
    looks at a part of the street is judged on that part.
    """
    results = kitti_results(dataset, found)
    truth, truth_traits, found_traits = {}, {}, {}
    for frame_id in found:
        frame = dataset.frame(frame_id)
        objects = ignore_outside(dataset.objects(frame_id), frame.calibration, point_range)
        truth[frame_id] = objects
        truth_traits[frame_id] = traits(objects, frame.calibration, frame.points)
        found_traits[frame_id] = traits(results[frame_id], frame.calibration)
    matches = match(truth, results, dataset.kinds)
    ap = filled_ap(matches)
    return {
        "kitti": matches.report(),
        "ap": ap,
        "bev_map": mean_over_classes(ap, "bev"),
        "3d_map": mean_over_classes(ap, "3d"),
        "resamples": pack(resampled_ap(matches), len(found), matches.classes),
        "breakdown": breakdown(
            truth, results, truth_traits, found_traits, dataset.kinds, fill_recall=True
        ),
        "calibration": calibration(truth, results, dataset.kinds),
        "agreement": agreement(teacher, found, dataset.kinds) if teacher else None,
        "frames": len(found),
        "point_range": [float(x) for x in point_range],
    }


def mean_ap(detector: Detector, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """`bev_map` and `3d_map` of a detector on the validation frames, in percent."""
    found = detect(detector.to(device), dataset, device, Reporter(quiet=True))
    metrics = score(dataset, found, detector.point_range)
    return {name: metrics[name] for name in ("bev_map", "3d_map")}


def teacher_detections(spec: RunSpec) -> dict[str, Detections] | None:
    """What the trained teacher of a run detected; None without one, or without a copy of it."""
    run = spec.teacher_run()
    try:
        return load_detections(run, spec.teacher.weights) if run else None
    except DataError:
        return None


def kitti_results(dataset: Dataset, found: dict[str, Detections]) -> dict[str, KittiObjects]:
    """Detections by frame id, as KITTI results in the camera frame."""
    results = {}
    for frame_id, d in found.items():
        frame = dataset.frame(frame_id)
        results[frame_id] = to_kitti(
            d.boxes.double().numpy(), d.scores.double().numpy(), d.labels.numpy(),
            dataset.classes, frame.calibration, frame.image_size,
        )  # fmt: skip
    return results


def ignore_outside(objects: KittiObjects, calibration: Calibration, point_range) -> KittiObjects:
    """The same objects, those outside the range marked so that the evaluator ignores them."""
    boxes = boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)
    low, high = np.split(np.asarray(point_range, np.float64), 2)
    inside = ((boxes[:, :2] >= low[:2]) & (boxes[:, :2] < high[:2])).all(axis=1)
    real = objects.names != "DontCare"  # DontCare areas have no place in space
    occluded = np.where(real & ~inside, OUT_OF_RANGE, objects.occluded)
    values = vars(objects) | {"occluded": occluded}
    return KittiObjects(**values)

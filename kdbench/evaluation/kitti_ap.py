"""KITTI average precision, as the benchmark's own development kit (2019) computes it.

Three steps: overlaps and flags, matching (`matching.py`), precision (`precision.py`). The first
two are done once by `match`; `Matches.average_precision` does the last for any weights of the
frames, fast enough for thousands of bootstrap resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.classes import KITTI, Classes, ObjectClass, described
from kdbench.errors import DataError
from kdbench.evaluation.difficulty import (
    COUNTED,
    DIFFICULTIES,
    detection_flags,
    ground_truth_flags,
    lower_names,
)
from kdbench.evaluation.flat import FlatObjects, flatten, pairs_in_frames
from kdbench.evaluation.matching import Changes, Pairs
from kdbench.evaluation.matching import match as match_pairs
from kdbench.evaluation.overlaps import bev_and_3d_overlaps, image_overlaps
from kdbench.evaluation.precision import SAMPLES, average_precision, precision_curves
from kdbench.geometry.kitti_labels import KittiObjects, empty

METRICS = ("bbox", "aos", "bev", "3d")  # aos: orientation similarity of bbox matches
OVERLAPS = ("bbox", "bev", "3d")  # the metrics that are an overlap of their own
NO_ALPHA = -10  # a detection's alpha where its orientation is unknown


@dataclass(frozen=True)
class Matches:
    """All that average precision needs; none of it depends on which frames are counted."""

    frames: tuple[str, ...]  # f ids, the order of `weights`
    classes: tuple[str, ...]  # lower case
    score: np.ndarray  # (n,) of the detections, best first
    frame: np.ndarray  # (n,) int64, index into `frames`
    changes: dict[tuple[str, str, str], Changes]  # by class, overlap, difficulty; best first
    positives: dict[tuple[str, str], np.ndarray]  # by class, difficulty: (f,) int64
    oriented: bool  # whether every detection has an orientation
    fill_recall: bool  # see `precision_curves`

    def curves(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Precision in percent, (classes, metrics, difficulties, 41).

        weights (f,): how often each frame counts, non-negative integers; None is once each.
        Orientation ("aos") is NaN unless every detection has one.
        """
        weights = np.ones(len(self.frames)) if weights is None else weights
        weights = np.asarray(weights).astype(np.int64)
        curves = np.empty((len(self.classes), len(METRICS), len(DIFFICULTIES), SAMPLES))
        for c, name in enumerate(self.classes):
            for d, difficulty in enumerate(DIFFICULTIES):
                for overlap in OVERLAPS:
                    both = self._curves(name, overlap, difficulty, weights)
                    curves[c, METRICS.index(overlap), d] = both[0]
                    if overlap == "bbox":
                        curves[c, METRICS.index("aos"), d] = both[1] if self.oriented else np.nan
        return 100 * curves

    def _curves(self, name, overlap, difficulty, weights) -> np.ndarray:
        changes = self.changes[name, overlap, difficulty]
        return precision_curves(
            self.score, self.frame, changes.recalled, changes.true_positives,
            changes.false_positives, changes.similarity, self.positives[name, difficulty], weights,
            self.fill_recall,
        )  # fmt: skip

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """AP in percent, (classes, metrics, 2, difficulties); of 2: R11, R40. See `curves`."""
        return np.stack(average_precision(self.curves(weights)), axis=2)

    def report(self, with_curves: bool = False) -> dict:
        """The result of `evaluate`."""
        curves = self.curves()
        r11, r40 = average_precision(curves)
        report = {}
        for c, name in enumerate(self.classes):
            report[name] = {}
            for m, metric in enumerate(METRICS):
                entry = {"R11": r11[c, m].tolist(), "R40": r40[c, m].tolist()}
                if with_curves:
                    entry["precision"] = curves[c, m].tolist()
                known = metric != "aos" or self.oriented
                report[name][metric] = entry if known else None
        return report


def evaluate(
    ground_truth: Mapping[str, KittiObjects],
    detections: Mapping[str, KittiObjects],
    classes: Classes = KITTI,
    with_curves: bool = False,
    fill_recall: bool = False,
) -> dict:
    """KITTI AP of `detections` by frame id, over the frames of `ground_truth`.

    Gives class (lower case) -> metric (bbox, aos, bev, 3d) -> "R11" and "R40" -> percent at
    [easy, moderate, hard]; with curves also "precision": the 41 points of each difficulty, in
    percent. "aos" is None when any detection's alpha is -10, the sign of no orientation. A
    frame without an entry in `detections` has none; entries of other frames are left out. AP is
    0.0 where a class has no detection or no ground truth.

    As the development kit has it, AP cannot reach 100 where a cell has fewer than some 40
    ground truths; `fill_recall` departs from the kit there and lets it (`precision_curves`).

    Raises DataError without frames, UsageError for the name of a class that is not KITTI's.
    """
    return match(ground_truth, detections, classes, fill_recall).report(with_curves)


def match(
    ground_truth: Mapping[str, KittiObjects],
    detections: Mapping[str, KittiObjects],
    classes: Classes = KITTI,
    fill_recall: bool = False,
) -> Matches:
    """All matches between ground truth and detections; arguments and errors as `evaluate`."""
    if not ground_truth:
        raise DataError("no frames to evaluate")
    truth = flatten(ground_truth.values())
    nothing = empty()
    found = flatten(detections.get(frame, nothing) for frame in ground_truth)
    best_first = np.argsort(-found.objects.score, kind="stable")
    kinds = described(classes)
    changes, positives = _match_all(truth, found, kinds, best_first)
    return Matches(
        frames=tuple(ground_truth),
        classes=tuple(kind.key for kind in kinds),
        score=found.objects.score[best_first],
        frame=found.frame[best_first],
        changes=changes,
        positives=positives,
        oriented=not (found.objects.alpha == NO_ALPHA).any(),
        fill_recall=fill_recall,
    )


def _match_all(
    truth: FlatObjects, found: FlatObjects, kinds: tuple[ObjectClass, ...], best_first
) -> tuple[dict, dict]:
    """`Matches.changes` and `Matches.positives`."""
    truth_names, found_names = lower_names(truth.objects), lower_names(found.objects)
    candidates, part_in_stuff = _candidates(truth, found, truth_names)
    alpha = truth.objects.alpha, found.objects.alpha
    changes, positives = {}, {}
    for kind in kinds:
        for difficulty, rule in DIFFICULTIES.items():
            truth_flags = ground_truth_flags(truth.objects, truth_names, kind, rule)
            found_flags = detection_flags(found.objects, found_names, kind, rule)
            counted = truth.frame[truth_flags == COUNTED]
            positives[kind.key, difficulty] = np.bincount(counted, minlength=len(truth.start) - 1)
            for overlap in OVERLAPS:
                pairs = candidates[overlap].select(candidates[overlap].overlap > kind.overlap)
                # DontCare regions are marked in the image only.
                in_stuff = (part_in_stuff > kind.overlap) & (overlap == "bbox")
                at_detection = match_pairs(
                    pairs, truth.frame[pairs.truth], truth_flags, found_flags,
                    found.objects.score, alpha, in_stuff,
                )  # fmt: skip
                changes[kind.key, overlap, difficulty] = at_detection.select(best_first)
    return changes, positives


def _candidates(truth: FlatObjects, found: FlatObjects, truth_names) -> tuple[dict, np.ndarray]:
    """The pairs that overlap, by overlap; and the largest part (n,) of each detection's image
    box that one DontCare region covers."""
    i, j = pairs_in_frames(truth, found)
    stuff = (truth_names == "dontcare")[i]
    bbox, part = image_overlaps(truth.objects, found.objects, i, j)
    part_in_stuff = np.zeros(len(found))
    np.maximum.at(part_in_stuff, j[stuff], part[stuff])
    i, j, bbox = i[~stuff], j[~stuff], bbox[~stuff]
    bev, space = bev_and_3d_overlaps(truth.objects, found.objects, i, j)
    pairs = {
        name: Pairs(i, j, overlap).select(overlap > 0)
        for name, overlap in zip(OVERLAPS, (bbox, bev, space), strict=True)
    }
    return pairs, part_in_stuff

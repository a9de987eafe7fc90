"""KITTI average precision, as the benchmark's own development kit (2019) computes it.

Three steps: overlaps and flags, matching (`matching.py`), precision (`precision.py`). The first
two are done once by `match`, for some frames at a time (`portions.py`);
`Matches.average_precision` does the last for any weights of the frames, fast enough for thousands
of bootstrap resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.classes import KITTI, Classes, described
from kdbench.errors import DataError
from kdbench.evaluation.difficulty import DIFFICULTIES
from kdbench.evaluation.matching import Changes, by_rank
from kdbench.evaluation.portions import OVERLAPS, portions
from kdbench.evaluation.precision import SAMPLES, average_precision, precision_curves
from kdbench.geometry.kitti_labels import KittiObjects

METRICS = ("bbox", "aos", "bev", "3d")  # aos: orientation similarity of bbox matches


@dataclass(frozen=True)
class Matches:
    """All that average precision needs; none of it depends on which frames are counted."""

    frames: tuple[str, ...]  # f ids, the order of `weights`
    classes: tuple[str, ...]  # lower case
    score: np.ndarray  # (n,) of the detections, best first
    frame: np.ndarray  # (n,) int64, index into `frames`
    changes: dict[tuple[str, str, str], Changes]  # by class, overlap, difficulty
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
                    both = self.precision(name, overlap, difficulty, weights)
                    curves[c, METRICS.index(overlap), d] = both[0]
                    if overlap == "bbox":
                        curves[c, METRICS.index("aos"), d] = both[1] if self.oriented else np.nan
        return 100 * curves

    def precision(self, name: str, overlap: str, difficulty: str, weights: np.ndarray):
        """`precision_curves` (2, 41) of one class, overlap and difficulty; weights (f,) int64."""
        changes = self.changes[name, overlap, difficulty]
        return precision_curves(
            self.score[changes.detection], self.frame[changes.detection], changes.recalled,
            changes.true_positives, changes.false_positives, changes.similarity,
            self.positives[name, difficulty], weights, self.fill_recall,
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
    kinds = described(classes)
    parts = list(portions(ground_truth, detections, kinds))
    score = np.concatenate([part.score for part in parts])
    first = np.cumsum([0, *(len(part.score) for part in parts)])[:-1]
    best_first = np.argsort(-score, kind="stable")
    rank = np.empty(len(score), np.int32)
    rank[best_first] = np.arange(len(score))
    cells = list(parts[0].changes)
    return Matches(
        frames=tuple(ground_truth),
        classes=tuple(kind.key for kind in kinds),
        score=score[best_first],
        frame=np.concatenate([part.frame for part in parts])[best_first],
        # Taken out of the parts one by one, for all together are most of the memory.
        changes={c: by_rank([part.changes.pop(c) for part in parts], first, rank) for c in cells},
        positives={
            key: np.concatenate([part.positives[key] for part in parts])
            for key in parts[0].positives
        },
        oriented=all(part.oriented for part in parts),
        fill_recall=fill_recall,
    )

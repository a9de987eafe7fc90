"""How far a student detects what its teacher detects, right or wrong.

Two detections agree when they are of one class and overlap from above by more than KITTI asks of
a match of that class. Pairs are taken one to one, greedily, those of the highest sum of scores
first; teacher and student may change places without changing a pair.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from kdbench.classes import Classes, described
from kdbench.detector import Detections
from kdbench.errors import DataError
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou

LEAST_SCORE = 0.3  # of both: below are mostly false alarms, of which there are any number
LEAST_PAIRS = 3  # for a correlation

Found = Mapping[str, Detections]
Matched = np.ndarray  # (k, 4): class, IoU, score of the teacher, score of the student


def agreement(teacher: Found, student: Found, classes: Classes) -> dict | None:
    """Agreement of two runs' detections of the same frames, with scores of LEAST_SCORE or more.

    Gives `f1` (twice the pairs over the detections of both), `recall` (of the teacher's) and
    `precision` (of the student's), 0..1, None without detections; `iou`, the mean over the
    pairs; `pearson` and `spearman`, correlations of their scores, None with fewer than
    LEAST_PAIRS or equal scores; the counts `teacher`, `student`, `pairs`; and `classes`, the F1
    of each class. None where neither detects anything. Raises DataError when the frames differ.
    """
    if set(teacher) != set(student):
        raise DataError("teacher and student have detections of different frames")
    kinds = described(classes)
    limits = np.array([kind.overlap for kind in kinds])
    kept = [{i: _above(found[i]) for i in teacher} for found in (teacher, student)]
    pairs = np.concatenate([_matched(*(side[i] for side in kept), limits) for i in teacher])
    labels = [np.concatenate([d[2] for d in side.values()]) for side in kept]
    if not any(map(len, labels)):
        return None
    own = [
        _shares(*((x == c).sum() for x in labels), (pairs[:, 0] == c).sum())["f1"]
        for c in range(len(kinds))
    ]
    return {
        **_shares(*map(len, labels), len(pairs)),
        "iou": float(pairs[:, 1].mean()) if len(pairs) else None,
        **_correlations(pairs[:, 2], pairs[:, 3]),
        "teacher": len(labels[0]), "student": len(labels[1]), "pairs": len(pairs),
        "classes": {kind.key: f1 for kind, f1 in zip(kinds, own, strict=True)},
    }  # fmt: skip


def _above(found: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 7), scores (n,) and labels (n,) of what scores high enough."""
    kept = found.scores >= LEAST_SCORE
    return tuple(x[kept].numpy() for x in (found.boxes, found.scores, found.labels))


def _matched(teacher: tuple, student: tuple, limits: np.ndarray) -> Matched:
    """The pairs of one frame."""
    iou = bev_iou(teacher[0][:, BEV_COLUMNS], student[0][:, BEV_COLUMNS])
    close = iou > limits[teacher[2]][:, None]
    i, j = np.nonzero(close & (teacher[2][:, None] == student[2]))
    sums = teacher[1][i].astype(np.float64) + student[1][j]
    taken: list[tuple[int, int]] = []
    for k in np.lexsort((-iou[i, j], -sums)):
        if all(i[k] != a and j[k] != b for a, b in taken):
            taken.append((i[k], j[k]))
    a, b = np.array(taken, int).reshape(-1, 2).T
    return np.column_stack([teacher[2][a], iou[a, b], teacher[1][a], student[1][b]])


def _shares(teacher: int, student: int, pairs: int) -> dict[str, float | None]:
    def share(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    return {
        "f1": share(2 * pairs, teacher + student),
        "recall": share(pairs, teacher),
        "precision": share(pairs, student),
    }


def _correlations(a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
    if len(a) < LEAST_PAIRS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"pearson": None, "spearman": None}
    return {
        "pearson": float(stats.pearsonr(a, b).statistic),
        "spearman": float(stats.spearmanr(a, b).statistic),
    }

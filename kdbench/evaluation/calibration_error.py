"""Does a score of 0.7 mean that seven of ten such detections are right?

Detection expected calibration error (D-ECE; Kueppers et al., "Multivariate Confidence Calibration
for Object Detection", CVPR Workshops 2020) over the score alone: sum over bins b of

    n_b / n  |right_b / n_b - mean score of b|

Detections are right or wrong by KITTI's rules at moderate difficulty (`outcomes.py`); those that
are ignored are left out, and so are all with scores of no more than LEAST_SCORE, where most
detectors cut off.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from kdbench.classes import KITTI, Classes, described
from kdbench.evaluation.difficulty import lower_names
from kdbench.evaluation.outcomes import LEFT_OUT, METRICS, RIGHT, outcome
from kdbench.geometry.kitti_labels import KittiObjects, empty

LEAST_SCORE, BINS = 0.1, 10  # bins of equal width from there to 1

Bins = dict[str, list]


def calibration(
    truth: Mapping[str, KittiObjects],
    found: Mapping[str, KittiObjects],
    classes: Classes = KITTI,
) -> dict:
    """D-ECE, 0..1, of matches from above ("bev") and in space ("3d"); frames as `evaluate`.

    By metric: `error`, by class and their "mean", None where there is no detection; and `bins`,
    by class: `count`, `right` and mean `score` (None in an empty bin), lists over the bins.
    """
    names = [kind.key for kind in described(classes)]
    kept = {i: _above(found.get(i, empty())) for i in truth}
    result = {}
    for metric in METRICS:
        right = {i: outcome(truth[i], kept[i], classes, metric).found for i in truth}
        bins = {name: _bins(*_of_class(kept, right, name)) for name in names}
        errors = {name: error(own) for name, own in bins.items()}
        known = [value for value in errors.values() if value is not None]
        mean = float(np.mean(known)) if known else None
        result[metric] = {"error": errors | {"mean": mean}, "bins": bins}
    return result


def error(bins: Bins) -> float | None:
    """The calibration error of binned detections; None without any."""
    total = sum(bins["count"])
    if not total:
        return None
    filled = zip(bins["count"], bins["right"], bins["score"], strict=True)
    return sum(abs(right - n * score) for n, right, score in filled if n) / total


def pooled(several: Sequence[Bins]) -> Bins:
    """The bins of all detections together."""
    count, right = (np.sum([b[key] for b in several], axis=0) for key in ("count", "right"))
    scores = [[s or 0.0 for s in b["score"]] for b in several]
    total = np.sum([np.multiply(b["count"], s) for b, s in zip(several, scores, strict=True)], 0)
    return {"count": count.tolist(), "right": right.tolist(), "score": _means(total, count)}


def _above(found: KittiObjects) -> KittiObjects:
    return found.select(found.score > LEAST_SCORE)


def _of_class(found: Mapping[str, KittiObjects], verdicts, name: str) -> tuple:
    """Scores (n,) of a class's detections that are right or wrong, and which are right."""
    scores, right = [], []
    for frame, objects in found.items():
        own = (lower_names(objects) == name) & (verdicts[frame] != LEFT_OUT)
        scores.append(objects.score[own])
        right.append(verdicts[frame][own] == RIGHT)
    return np.concatenate(scores), np.concatenate(right)


def _bins(score: np.ndarray, right: np.ndarray) -> Bins:
    place = ((score - LEAST_SCORE) / (1 - LEAST_SCORE) * BINS).astype(int).clip(0, BINS - 1)
    count, rights, total = (
        np.bincount(place, weights, BINS) for weights in (None, right.astype(int), score)
    )
    return {
        "count": count.tolist(),
        "right": rights.astype(int).tolist(),
        "score": _means(total, count),
    }


def _means(total: np.ndarray, count: np.ndarray) -> list[float | None]:
    return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]

"""Precision over recall, and average precision, from the changes that matching found."""

import numpy as np
from numba import njit

SAMPLES = 41  # recall 0, 1/40, ..., 1


@njit(cache=True, nogil=True)
def _thresholds(score, recalled, times, positives, fill_recall):
    """The scores, highest first, nearest to where recall passes 0, 1/40, ..., 1.

    score (n,) descending; recalled (n,); times (n,) how often a detection's frame was drawn;
    positives: how many ground truths count; fill_recall: see `precision_curves`.
    """
    total = 0
    for k in range(len(score)):
        if recalled[k]:
            total += times[k]
    thresholds = []
    rank, recall = 0, 0.0
    for k in range(len(score)):
        for _ in range(times[k] if recalled[k] else 0):
            rank += 1
            left = rank / positives
            right = (rank + 1) / positives
            # Wait while the next ground truth brings recall nearer to the sample point.
            if rank < total and right - recall < recall - left:
                continue
            thresholds.append(score[k])
            recall += 1 / (SAMPLES - 1)
            while fill_recall and left >= recall - 1e-9:
                thresholds.append(score[k])
                recall += 1 / (SAMPLES - 1)
    return thresholds


@njit(cache=True, nogil=True)
def precision_curves(
    score, frame, recalled, true_positives, false_positives, similarity, positives, weights,
    fill_recall,
):  # fmt: skip
    """Precision (41,) and orientation-weighted precision (41,), 0..1, non-increasing.

    Of n detections, best first: score (n,), frame (n,), and their `Changes`. positives (f,):
    how many ground truths of each frame count; weights (f,) int64: how often to count a frame,
    1 for plain evaluation, the number of draws for a resample.

    The development kit lets a ground truth stand for one sample point only, so that n < 40 of
    them, all found, reach no further than point n. With `fill_recall` a ground truth stands for
    all points up to the recall it brings; with many ground truths there is no difference.
    """
    times = weights[frame]
    curves = np.zeros((2, SAMPLES))
    k, tp, fp, similar = 0, 0, 0, 0.0
    counted = (weights * positives).sum()
    thresholds = _thresholds(score, recalled, times, counted, fill_recall)
    for sample in range(min(len(thresholds), SAMPLES)):
        while k < len(score) and score[k] >= thresholds[sample]:
            tp += times[k] * true_positives[k]
            fp += times[k] * false_positives[k]
            similar += times[k] * similarity[k]
            k += 1
        if tp + fp > 0:
            curves[0, sample] = tp / (tp + fp)
            curves[1, sample] = similar / (tp + fp)
    # The best precision at this recall or a higher one.
    for sample in range(SAMPLES - 2, -1, -1):
        for c in range(2):
            curves[c, sample] = max(curves[c, sample], curves[c, sample + 1])
    return curves


def average_precision(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP at 11 and at 40 recall positions, from curves (..., 41).

    R11 takes recall 0, 0.1, ..., 1; R40 takes 1/40, ..., 1 and leaves recall 0 out.
    """
    return curves[..., ::4].mean(axis=-1), curves[..., 1:].mean(axis=-1)

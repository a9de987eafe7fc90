"""Which objects of a frame were found and which detections are right, by KITTI's rules.

What `evaluation/matching.py` counts at one score threshold, object by object.
"""

from dataclasses import dataclass

import numpy as np

from kdbench.classes import Classes, described
from kdbench.evaluation.difficulty import (
    COUNTED,
    DIFFICULTIES,
    IGNORED,
    detection_flags,
    ground_truth_flags,
    lower_names,
)
from kdbench.evaluation.overlaps import bev_and_3d_overlaps
from kdbench.geometry.kitti_labels import KittiObjects

WRONG, RIGHT, LEFT_OUT = 0, 1, -1  # verdicts
METRICS = ("bev", "3d")


@dataclass(frozen=True)
class Outcome:
    """Verdicts on one frame: RIGHT, WRONG (missed, or a false alarm) or LEFT_OUT."""

    truth: np.ndarray  # (n,) int8
    found: np.ndarray  # (m,) int8

    @property
    def hits(self) -> int:
        """Objects that were found."""
        return int((self.truth == RIGHT).sum())

    @property
    def misses(self) -> int:
        """Objects that were not."""
        return int((self.truth == WRONG).sum())

    @property
    def false_alarms(self) -> int:
        """Detections of nothing."""
        return int((self.found == WRONG).sum())


def outcome(
    truth: KittiObjects,
    found: KittiObjects,
    classes: Classes,
    metric: str = "bev",
    difficulty: str = "moderate",
) -> Outcome:
    """Verdicts on one frame's objects and detections, all of which count whatever their score.

    A match overlaps by more than the class's threshold, from above ("bev") or in space ("3d").
    Left out are objects beyond the difficulty or of like classes, and detections of them.
    """
    overlap = _overlaps(truth, found, metric)
    names, found_names = lower_names(truth), lower_names(found)
    truth_verdict = np.full(len(truth), LEFT_OUT, np.int8)
    found_verdict = np.full(len(found), LEFT_OUT, np.int8)
    for kind in described(classes):
        flags = ground_truth_flags(truth, names, kind, DIFFICULTIES[difficulty])
        found_flags = detection_flags(found, found_names, kind, DIFFICULTIES[difficulty])
        partner = _partners(overlap > kind.overlap, overlap, flags, found_flags)
        matched = {j: i for i, j in enumerate(partner) if j >= 0}
        for i in np.flatnonzero(flags == COUNTED):
            if partner[i] < 0:
                truth_verdict[i] = WRONG
            elif found_flags[partner[i]] == COUNTED:
                truth_verdict[i] = RIGHT
        for j in np.flatnonzero(found_flags == COUNTED):
            if j not in matched:
                found_verdict[j] = WRONG
            elif flags[matched[j]] == COUNTED:
                found_verdict[j] = RIGHT
    return Outcome(truth_verdict, found_verdict)


def _overlaps(truth: KittiObjects, found: KittiObjects, metric: str) -> np.ndarray:
    """IoU (n, m)."""
    i, j = np.indices((len(truth), len(found))).reshape(2, -1)
    both = bev_and_3d_overlaps(truth, found, i, j)
    return both[METRICS.index(metric)].reshape(len(truth), len(found))


def _partners(enough: np.ndarray, overlap: np.ndarray, flags, found_flags) -> list[int]:
    """The detection that each object takes, or -1: in the order of the objects.

    Of the detections left it is the counted one of largest overlap, or else the first ignored.
    """
    free = found_flags >= COUNTED
    partners = []
    for i, flag in enumerate(flags):
        near = enough[i] & free if flag >= COUNTED else np.zeros(len(free), bool)
        counted = near & (found_flags == COUNTED)
        ignored = np.flatnonzero(near & (found_flags == IGNORED))
        j = -1
        if counted.any():
            j = int(np.where(counted, overlap[i], -1).argmax())
        elif len(ignored):
            j = int(ignored[0])
        if j >= 0:
            free[j] = False
        partners.append(j)
    return partners

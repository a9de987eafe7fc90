"""Which detections match which ground truth, at every score threshold at once.

The development kit matches every frame anew at each of up to 41 thresholds. But what it counts
in a frame changes only at the scores of that frame's detections, so it is enough to match there
and to write down the changes. The counts at any threshold, over any choice of frames, are then
sums of changes (`precision.py`), and no resample of the frames needs matching again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from kdbench.evaluation.difficulty import COUNTED, IGNORED


@dataclass(frozen=True)
class Pairs:
    """Overlapping pairs of ground truth and detections, by frame, ground truth, detection."""

    truth: np.ndarray  # (p,) int64
    found: np.ndarray  # (p,) int64
    overlap: np.ndarray  # (p,) float64

    def select(self, mask: np.ndarray) -> "Pairs":
        """The pairs where `mask` (p,) holds."""
        return Pairs(self.truth[mask], self.found[mask], self.overlap[mask])


@dataclass(frozen=True)
class Changes:
    """What lowering the threshold past detections' scores changes in their frames.

    Several detections of one frame with one score share their change among them. Those that change
    nothing are left out: of hundreds of a frame most are of another class.
    """

    detection: np.ndarray  # (k,) int32, which they are of, ascending
    recalled: np.ndarray  # (k,) bool: its score is where a ground truth is first found
    true_positives: np.ndarray  # (k,) int32
    false_positives: np.ndarray  # (k,) int32
    similarity: np.ndarray  # (k,) float64, of orientation, summed over the true positives

    def select(self, index: np.ndarray) -> "Changes":
        """The changes at `index` (a mask or integers)."""
        return Changes(*(getattr(self, f.name)[index] for f in fields(self)))


def by_rank(parts: Sequence[Changes], first: Sequence[int], rank: np.ndarray) -> Changes:
    """The changes of parts as one, each detection by its place in a ranking.

    first: of each part, how many detections come before its own; rank (n,) int32: the places of
    all of them.
    """
    _, *columns = (np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Changes))
    place = np.concatenate([rank[p.detection + n] for p, n in zip(parts, first, strict=True)])
    order = np.full(len(rank), -1, np.int32)  # of two million quicker than sorting
    order[place] = np.arange(len(place))
    return Changes(place, *columns).select(order[order >= 0])


def match(
    pairs: Pairs,
    pair_frame: np.ndarray,
    truth_flags: np.ndarray,
    found_flags: np.ndarray,
    score: np.ndarray,
    alpha: tuple[np.ndarray, np.ndarray],
    in_stuff: np.ndarray,
) -> Changes:
    """The changes for one class, metric and difficulty.

    pairs: what overlaps enough to match; pair_frame (p,) int64: their frames, ascending; flags:
    of `difficulty.py`; score (n,): of the detections; alpha: observation angles of ground truth
    and detections, radians; in_stuff (n,) bool: detections that lie in a DontCare region.
    """
    # OTHER objects do not take part.
    part = (truth_flags[pairs.truth] >= COUNTED) & (found_flags[pairs.found] >= COUNTED)
    pairs, pair_frame = pairs.select(part), pair_frame[part]
    if_wrong = (found_flags == COUNTED) & ~in_stuff  # a false positive unless matched
    recalled, true_positives, excused, similarity = _match_frames(
        pair_frame, pairs.truth, pairs.found, pairs.overlap,
        truth_flags, found_flags, score, *alpha, if_wrong,
    )  # fmt: skip
    false_positives = if_wrong - excused
    changes = recalled | (true_positives != 0) | (false_positives != 0) | (similarity != 0)
    at = np.flatnonzero(changes)
    counts = (x[at].astype(np.int32) for x in (true_positives, false_positives))
    return Changes(at.astype(np.int32), recalled[at], *counts, similarity[at])


@njit(cache=True, nogil=True)
def _most_certain(first, last, found, score, taken):
    """The free detection of highest score among pairs first..last-1, or -1.

    This choice, without regard to overlap, sets the scores at which recall is sampled.
    """
    best = -1
    for p in range(first, last):
        j = found[p]
        if not taken[j] and (best < 0 or score[j] > score[best]):
            best = j
    return best


@njit(cache=True, nogil=True)
def _closest(first, last, found, overlap, flags, score, threshold, taken):
    """The free detection at or above threshold of largest overlap, or -1.

    A counted detection goes before every ignored one; of ignored ones the first is taken.
    """
    best, best_overlap = -1, 0.0
    for p in range(first, last):
        j = found[p]
        if taken[j] or score[j] < threshold:
            continue
        if flags[j] == COUNTED and overlap[p] > best_overlap:
            best, best_overlap = j, overlap[p]
        elif flags[j] == IGNORED and best < 0:
            best = j
    return best


@njit(cache=True, nogil=True)
def _end_of_group(values, first, last):
    """Where the run of equal values that begins at `first` ends."""
    end = first + 1
    while end < last and values[end] == values[first]:
        end += 1
    return end


@njit(cache=True, nogil=True)
def _match_frames(
    pair_frame, truth, found, overlap,
    truth_flags, found_flags, score, truth_alpha, found_alpha, if_wrong,
):  # fmt: skip
    n = len(score)
    recalled = np.zeros(n, dtype=np.bool_)
    true_positives, excused = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    similarity = np.zeros(n)
    taken = np.zeros(n, dtype=np.bool_)
    first = 0
    while first < len(truth):
        last = _end_of_group(pair_frame, first, len(truth))
        rivals = found[first:last]

        # As at a threshold below every score, but by score: where recall can be sampled.
        at = first
        while at < last:
            end = _end_of_group(truth, at, last)
            j = _most_certain(at, end, found, score, taken)
            if j >= 0:
                taken[j] = True
                counted = truth_flags[truth[at]] == COUNTED and found_flags[j] == COUNTED
                recalled[j] = counted
            at = end
        taken[rivals] = False

        # At each score of the frame, from high to low: the counts less the counts before.
        tp_before, excused_before, similarity_before, score_before = 0, 0, 0.0, np.inf
        for leader in rivals[np.argsort(-score[rivals])]:
            threshold = score[leader]
            if threshold == score_before:
                continue
            tp_now, excused_now, similarity_now = 0, 0, 0.0
            at = first
            while at < last:
                end = _end_of_group(truth, at, last)
                i = truth[at]
                j = _closest(at, end, found, overlap, found_flags, score, threshold, taken)
                if j >= 0:
                    taken[j] = True
                    excused_now += if_wrong[j]
                    if truth_flags[i] == COUNTED and found_flags[j] == COUNTED:
                        tp_now += 1
                        similarity_now += (1 + math.cos(truth_alpha[i] - found_alpha[j])) / 2
                at = end
            taken[rivals] = False
            true_positives[leader] = tp_now - tp_before
            excused[leader] = excused_now - excused_before
            similarity[leader] = similarity_now - similarity_before
            tp_before, excused_before = tp_now, excused_now
            similarity_before, score_before = similarity_now, threshold
        first = last
    return recalled, true_positives, excused, similarity

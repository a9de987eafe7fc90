"""Overlaps, flags and matches of some frames at a time.

A frame with 500 detections and 12 objects makes 6,000 pairs, and a thousand such frames together
gigabytes of them. Of a portion of frames only what matching found is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.classes import ObjectClass
from kdbench.evaluation.difficulty import (
    COUNTED,
    DIFFICULTIES,
    detection_flags,
    ground_truth_flags,
    lower_names,
)
from kdbench.evaluation.flat import FlatObjects, flatten, pairs_in_frames
from kdbench.evaluation.matching import Changes, Pairs, match
from kdbench.evaluation.overlaps import bev_and_3d_overlaps, image_overlaps
from kdbench.geometry.kitti_labels import KittiObjects, empty

OVERLAPS = ("bbox", "bev", "3d")  # the metrics that are an overlap of their own
NO_ALPHA = -10  # a detection's alpha where its orientation is unknown
FRAMES = 64  # of a portion


@dataclass(frozen=True)
class Portion:
    """What matching found in f frames with n detections, in frame and file order."""

    score: np.ndarray  # (n,)
    frame: np.ndarray  # (n,) int64, counted from the first frame of all
    changes: dict[tuple[str, str, str], Changes]  # by class, overlap, difficulty
    positives: dict[tuple[str, str], np.ndarray]  # by class, difficulty: (f,) int64
    oriented: bool  # whether every detection has an orientation


def portions(
    truth: Mapping[str, KittiObjects],
    found: Mapping[str, KittiObjects],
    kinds: Sequence[ObjectClass],
) -> Iterator[Portion]:
    """The frames of `truth`, in its order."""
    ids, nothing = list(truth), empty()
    for first in range(0, len(ids), FRAMES):
        some = ids[first : first + FRAMES]
        sides = [truth[i] for i in some], [found.get(i, nothing) for i in some]
        yield _portion(*map(flatten, sides), first, kinds)


def _portion(truth: FlatObjects, found: FlatObjects, first: int, kinds) -> Portion:
    truth_names, found_names = lower_names(truth.objects), lower_names(found.objects)
    candidates, part_in_stuff = _candidates(truth, found, truth_names)
    alpha = truth.objects.alpha, found.objects.alpha
    changes, positives = {}, {}
    for kind in kinds:
        close = {o: pairs.select(pairs.overlap > kind.overlap) for o, pairs in candidates.items()}
        for difficulty, rule in DIFFICULTIES.items():
            truth_flags = ground_truth_flags(truth.objects, truth_names, kind, rule)
            found_flags = detection_flags(found.objects, found_names, kind, rule)
            counted = truth.frame[truth_flags == COUNTED]
            positives[kind.key, difficulty] = np.bincount(counted, minlength=len(truth.start) - 1)
            for overlap, pairs in close.items():
                # DontCare regions are marked in the image only.
                in_stuff = (part_in_stuff > kind.overlap) & (overlap == "bbox")
                changes[kind.key, overlap, difficulty] = match(
                    pairs, truth.frame[pairs.truth], truth_flags, found_flags,
                    found.objects.score, alpha, in_stuff,
                )  # fmt: skip
    oriented = not (found.objects.alpha == NO_ALPHA).any()
    return Portion(found.objects.score, found.frame + first, changes, positives, oriented)


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

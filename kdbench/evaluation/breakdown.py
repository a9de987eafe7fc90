"""AP by band (`bands.py`): where does a detector fail, and where does a method help it?

Matching and precision are KITTI's own (`matching.py`, `precision.py`), at moderate difficulty and
40 recall positions. An object outside a band is ignored: neither is it to be found, nor is finding
it a mistake. A detection outside a band of range that finds nothing is no mistake either; one that
finds an object inside, a step across the border, is a hit.

A detection that finds nothing has no occlusion and no number of points that are an object's. So in
these bands every such mistake counts in each of them, as KITTI has it with its difficulties.
Compare runs within a band: between bands AP differs by the number of objects too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.classes import KITTI, Classes, ObjectClass, described
from kdbench.evaluation.bands import BANDS, MODERATE, RULES, Band, Traits
from kdbench.evaluation.difficulty import (
    COUNTED,
    IGNORED,
    detection_flags,
    ground_truth_flags,
    lower_names,
)
from kdbench.evaluation.flat import FlatObjects, flatten, pairs_in_frames
from kdbench.evaluation.matching import Changes, Pairs, by_rank, match
from kdbench.evaluation.overlaps import bev_and_3d_overlaps
from kdbench.evaluation.precision import average_precision, precision_curves
from kdbench.geometry.kitti_labels import KittiObjects, empty

METRICS = ("bev", "3d")
LEAST = 20  # objects of a class in a band; AP of fewer says nothing

Frames = Mapping[str, KittiObjects]


def breakdown(
    truth: Frames,
    found: Frames,
    truth_traits: Traits,
    found_traits: Traits,
    classes: Classes = KITTI,
    bands: Mapping[str, Sequence[Band]] = BANDS,
    least: int = LEAST,
    fill_recall: bool = False,
) -> dict:
    """AP in percent of every class in every band, from above and in space.

    Frames and `fill_recall` are those of `kitti_ap.evaluate`; traits those of `bands.traits`, of
    the same frames: of objects all that `bands` has, of detections the range.

    Gives `bands`: the names of each trait's; `objects`: by class how many count in each; and for
    `bev` and `3d` by class the AP in each, None where fewer than `least` objects count. "mean" is
    over the classes that have an AP there. All lists are in the order of `bands`.
    """
    scene = _Scene.of(truth, found, truth_traits, found_traits)
    kinds = described(classes)
    each = [(trait, band) for trait, own in bands.items() for band in own]
    counts = {c.key: [int((scene.flags(c, *b) == COUNTED).sum()) for b in each] for c in kinds}
    result = {
        "bands": {trait: [band.name for band in own] for trait, own in bands.items()},
        "objects": counts,
    }
    for metric in METRICS:
        ap = {
            c.key: [
                scene.ap(c, metric, *b, fill_recall) if count >= max(1, least) else None
                for b, count in zip(each, counts[c.key], strict=True)
            ]
            for c in kinds
        }
        result[metric] = ap | {"mean": [_mean(column) for column in zip(*ap.values(), strict=True)]}
    return result


def _mean(column: Sequence[float | None]) -> float | None:
    known = [ap for ap in column if ap is not None]
    return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class _Scene:
    """All frames at once, and what depends on no class and no band."""

    truth: FlatObjects
    found: FlatObjects
    truth_names: np.ndarray  # (n,) lower case
    found_names: np.ndarray  # (m,)
    truth_traits: dict[str, np.ndarray]  # (n,) each
    found_traits: dict[str, np.ndarray]  # (m,) each
    pairs: dict[str, Pairs]  # by metric, those that overlap at all

    @classmethod
    def of(cls, truth: Frames, found: Frames, truth_traits, found_traits) -> "_Scene":
        flat = flatten(truth.values()), flatten(found.get(i, empty()) for i in truth)
        i, j = pairs_in_frames(*flat)
        overlaps = bev_and_3d_overlaps(flat[0].objects, flat[1].objects, i, j)
        pairs = {
            metric: Pairs(i, j, overlap).select(overlap > 0)
            for metric, overlap in zip(METRICS, overlaps, strict=True)
        }
        names = [lower_names(side.objects) for side in flat]
        of_truth = _joined(truth_traits, list(truth))
        of_found = _joined(found_traits, [frame for frame in truth if frame in found])
        return cls(*flat, *names, of_truth, of_found, pairs)

    def flags(self, kind: ObjectClass, trait: str, band: Band) -> np.ndarray:
        """Flags (n,) of `difficulty.py`: what is outside the band is ignored."""
        rule = RULES.get(trait, MODERATE)
        flags = ground_truth_flags(self.truth.objects, self.truth_names, kind, rule)
        flags[(flags == COUNTED) & ~band.holds(self.truth_traits[trait])] = IGNORED
        return flags

    def ap(
        self, kind: ObjectClass, metric: str, trait: str, band: Band, fill_recall: bool
    ) -> float:
        """AP in percent."""
        order = np.argsort(-self.found.objects.score, kind="stable")
        changes = by_rank([self._changes(kind, metric, trait, band)], [0], np.argsort(order))
        order = order[changes.detection]
        frames = len(self.truth.start) - 1
        counted = self.truth.frame[self.flags(kind, trait, band) == COUNTED]
        curves = precision_curves(
            self.found.objects.score[order], self.found.frame[order], changes.recalled,
            changes.true_positives, changes.false_positives, changes.similarity,
            np.bincount(counted, minlength=frames), np.ones(frames, np.int64), fill_recall,
        )  # fmt: skip
        return float(average_precision(100 * curves[0])[1])

    def _changes(self, kind: ObjectClass, metric: str, trait: str, band: Band) -> Changes:
        found = self.found.objects
        pairs = self.pairs[metric]
        pairs = pairs.select(pairs.overlap > kind.overlap)
        excused = np.zeros(len(found), bool)  # no mistake where they find nothing
        if trait in self.found_traits:
            excused = ~band.holds(self.found_traits[trait])
        return match(
            pairs, self.truth.frame[pairs.truth], self.flags(kind, trait, band),
            detection_flags(found, self.found_names, kind, RULES.get(trait, MODERATE)),
            found.score, (self.truth.objects.alpha, found.alpha), excused,
        )  # fmt: skip


def _joined(values: Traits, frames: Sequence[str]) -> dict[str, np.ndarray]:
    """Traits of the objects of all frames, one after the other."""
    names = values[frames[0]] if frames else {}
    return {name: np.concatenate([values[i][name] for i in frames]) for name in names}

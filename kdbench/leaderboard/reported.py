"""What papers report, to be set beside what is measured here.

mAP (BEV, 3D) on KITTI's validation frames, moderate difficulty, 40 recall positions: PointDistiller
(arXiv 2205.11098), tables 1 to 3, one training each. The other methods at ratio 4 are that paper's
own ports of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kdbench.evaluation.filled_ap import METRICS

SOURCE = "PointDistiller (CVPR 2023), KITTI val, one training each"
MAPS: dict[tuple[str, float], dict[str, tuple[float, float]]] = {
    ("pointpillars", 4.0): {
        "teacher": (68.3, 60.3),
        "none": (66.4, 58.7),
        "fitnet": (67.2, 58.7),
        "at": (67.7, 59.5),
        "se-ssd": (66.9, 59.9),
        "sp": (67.0, 59.6),
        "crd": (66.7, 58.7),
        "ofd": (66.9, 60.1),
        "fbkd": (67.5, 60.2),
        "pointdistiller": (69.2, 62.1),
    },
    ("pointpillars", 16.0): {
        "teacher": (68.3, 60.3),
        "none": (61.8, 53.5),
        "pointdistiller": (63.5, 54.9),
    },
    ("second", 4.0): {
        "teacher": (72.3, 66.1),
        "none": (71.0, 64.7),
        "pointdistiller": (73.2, 66.2),
    },
    ("second", 16.0): {
        "teacher": (72.3, 66.1),
        "none": (68.3, 59.7),
        "pointdistiller": (71.6, 62.6),
    },
    ("pointrcnn", 8.0): {
        "teacher": (75.3, 70.9),
        "none": (74.1, 68.6),
        "pointdistiller": (75.1, 69.6),
    },
    ("pointrcnn", 16.0): {
        "teacher": (75.3, 70.9),
        "none": (73.4, 67.7),
        "pointdistiller": (74.0, 69.0),
    },
}
PROPOSED = "pointdistiller"  # the method that the paper says is better than all others


@dataclass(frozen=True)
class Reported:
    """One figure of a paper: by how much a method is ahead of what it is compared with."""

    method: str
    over: str  # `none`, `teacher` or another method
    metric: str
    gain: float


def reported(detector: str, ratio: float) -> Iterator[Reported]:
    """All gains above 0 that are reported for a detector at a ratio."""
    maps = MAPS.get((detector, ratio), {})
    for method, own in maps.items():
        if method in ("none", "teacher"):
            continue
        others = [name for name in maps if name != method] if method == PROPOSED else ["none"]
        for over in others:
            for metric, ours, theirs in zip(METRICS, own, maps[over], strict=True):
                if (gain := round(ours - theirs, 1)) > 0:
                    yield Reported(method, over, metric, gain)

"""Whether an exported file detects what its detector does."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from kdbench.dataset import Dataset, collate
from kdbench.detector import Detections, Detector, Graph
from kdbench.errors import KdbenchError
from kdbench.training.evaluate import score

MAPS = ("bev_map", "3d_map")
MOST_MAP = 0.01  # points of mAP that both may be apart
MOST_OUTPUT = 1e-3  # how far an output may move, of the largest value of that output
Program = Callable[[dict[str, Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Parity:
    """A detector and its file side by side on some frames."""

    frames: int
    difference: dict[str, float]  # largest of each output of the head, its own unit
    size: dict[str, float]  # largest value of each output
    detector: dict[str, float]  # mAP in percent, of MAPS
    file: dict[str, float]

    def problem(self) -> str | None:
        """What is too far apart, in words."""
        for name, difference in self.difference.items():
            if not difference <= MOST_OUTPUT * max(1.0, self.size[name]):
                return f"output {name!r} is off by {difference:.2g}"
        for name in MAPS:
            if not abs(self.file[name] - self.detector[name]) <= MOST_MAP:
                return f"{name} is {self.file[name]:.3f}, not {self.detector[name]:.3f}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@torch.inference_mode()
def compare(
    detector: Detector, graph: Graph, program: Program, dataset: Dataset, ids: list[str]
) -> Parity:
    """Runs a detector and the file of its graph on the same frames, one at a time, on the CPU."""
    apart, size = dict.fromkeys(graph.outputs, 0.0), dict.fromkeys(graph.outputs, 0.0)
    ours: dict[str, Detections] = {}
    theirs: dict[str, Detections] = {}
    for frame_id in ids:
        prepared = detector.prepare(collate([dataset.frame(frame_id)]))
        taps = detector(prepared)
        (ours[frame_id],) = detector.predict(taps)
        outputs = dict(zip(graph.outputs, program(graph.inputs(prepared)), strict=True))
        (theirs[frame_id],) = detector.predict({f"head.{n}": x for n, x in outputs.items()})
        for name, found in outputs.items():
            expected = taps[f"head.{name}"]
            apart[name] = _largest(apart[name], found - expected)
            size[name] = _largest(size[name], expected)
    maps = [_maps(dataset, found, detector) for found in (ours, theirs)]
    return Parity(len(ids), apart, size, *maps)


def check(parity: Parity) -> None:
    """Raises KdbenchError when a file is not good for what its detector is."""
    if problem := parity.problem():
        raise KdbenchError(
            f"the exported graph does not compute what the detector does: on {parity.frames} "
            f"frames {problem}; nothing was written"
        )


def _largest(before: float, x: Tensor) -> float:
    """NaN wherever there is one, which is no parity."""
    return float(torch.maximum(torch.tensor(before), x.abs().max()))


def _maps(dataset: Dataset, found: dict[str, Detections], detector: Detector) -> dict[str, float]:
    metrics = score(dataset, found, detector.point_range)
    return {name: metrics[name] for name in MAPS}

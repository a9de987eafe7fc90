"""The contract of a detector."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdbench.classes import Classes, names_of
from kdbench.dataset import Batch
from kdbench.errors import UsageError
from kdbench.taps import Taps, TapSpecs


@dataclass(frozen=True)
class Detections:
    """What a detector found in one frame, best first."""

    boxes: Tensor  # (n, 7) LiDAR frame, see geometry/boxes.py
    scores: Tensor  # (n,) 0..1
    labels: Tensor  # (n,) int64, index into the classes


class Graph(nn.Module, ABC):
    """A detector's network for one frame on plain tensors, which other runtimes can run.

    `forward` takes the tensors of `inputs`, in their order, and returns those of `outputs`.
    """

    outputs: tuple[str, ...]  # `cls` is the tap `head.cls`, and so on
    card: dict[str, Any]  # plain values: what makes the inputs, and boxes of the outputs

    @abstractmethod
    def inputs(self, prepared: Any) -> dict[str, Tensor]:
        """What `Detector.prepare` gives for one frame, by name; only first dimensions vary.

        They are the same length, 0 or more.
        """


class Detector(nn.Module, ABC):
    """Base of all detectors. The keyword arguments of `__init__` are the detector's options.

    Built as `Detector(classes, ratio, **options)`. `ratio` is the declared compression: every
    channel width of the published network is divided by its square root. `classes` are names of
    KITTI's classes, or others with their sizes (`kdbench/classes.py`); `self.classes` are names.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    # Options that came after results were published -> the value at which nothing is new.
    neutral: ClassVar[dict[str, Any]] = {}
    # Of options, as far as a detector has them: smallest and largest value.
    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "bn_momentum": (0.0, 1.0), "score_threshold": (0.0, 1.0), "nms_threshold": (0.0, 1.0),
    }  # fmt: skip
    published_widths: ClassVar[tuple[int, ...]] = ()  # in the order of the option `widths`, if any
    # The operators that keep the network from being exported, in words; see `graph`.
    no_graph: ClassVar[str] = "it has no graph (Detector.graph)"
    taps: TapSpecs  # set by __init__

    def __init__(self, classes: Classes, ratio: float = 1.0):
        super().__init__()
        if not ratio >= 1:
            raise UsageError(f"ratio must be a number of at least 1, not {ratio:g}")
        self.kinds, self.classes = tuple(classes), names_of(classes)
        self.ratio = float(ratio)

    def width(self, published: int) -> int:
        """A published channel width at this ratio, at least 1."""
        return self.compressed(published, self.ratio)

    @staticmethod
    def compressed(published: int, ratio: float) -> int:
        """A published channel width at a ratio, at least 1."""
        return max(1, int(published / ratio**0.5))

    def chosen_widths(self, published: Sequence[int], chosen: Sequence[int]) -> list[int]:
        """The widths `chosen`, or where there are none the published ones at this ratio."""
        if not chosen:
            return [self.width(w) for w in published]
        if len(chosen) != len(published) or min(chosen) < 1:
            raise UsageError(f"{self.name}: widths must be {len(published)} numbers of at least 1")
        return list(chosen)

    @abstractmethod
    def prepare(self, batch: Batch) -> Any:
        """The network's input, without parameters: shared by teacher and student."""

    @abstractmethod
    def forward(self, inputs: Any) -> Taps:
        """All taps for prepared inputs."""

    def stages(self, inputs: Any) -> Iterator[Taps]:
        """The taps of `forward` in parts, in the order in which they are computed.

        How far a teacher runs is decided by what is read of it. Without this all taps are one
        stage.
        """
        yield self(inputs)

    @abstractmethod
    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        """Weighted detection losses by name, scalars."""

    @abstractmethod
    def predict(self, taps: Taps) -> list[Detections]:
        """Detections of each frame of the batch."""

    def graph(self) -> Graph:
        """The network as one graph, which shares its weights, for `kdbench export`.

        Raises UsageError that names what is in the way.
        """
        raise UsageError(f"detector {self.name!r} cannot be exported: {self.no_graph}")

    @property
    def point_range(self) -> tuple[float, ...]:
        """What the detector sees: x0, y0, z0, x1, y1, z1 in metres, LiDAR frame."""
        raise NotImplementedError


def merged(stages: Iterable[Taps]) -> Taps:
    """All taps of a detector's stages."""
    return {name: tap for stage in stages for name, tap in stage.items()}

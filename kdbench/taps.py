"""Taps: the named intermediate results that a detector shows to a distillation method.

A detector lists what it provides as `TapSpecs`; its forward pass returns the values as `Taps`.
Names follow the stage they come from: `voxel` or `points`, `backbone.0`, `backbone.1`, ...,
`preact.0`, ... (the same maps before their last ReLU), `neck`, `head.cls`, `head.box`,
`head.dir`; `counts` tells how many points lie over each cell of `backbone.0`, and `judge` is the
second stage of a detector that has one. A method asks for
taps by name or pattern. A name that begins with `_` is no tap: the detector keeps for its loss
there what no method should look at.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

import torch

from kdbench.errors import NotApplicable, UsageError


class Kind(StrEnum):
    """What a tap's value looks like."""

    ROWS = "rows"  # Rows: sparse voxels or pillars
    POINTS = "points"  # Rows: points, each its own row
    BEV = "bev"  # (B, C, H, W) dense map seen from above: H along y, W along x
    COUNTS = "counts"  # (B, 1, H, W) number of raw points over each cell of a map
    CLS = "cls"  # (B, H, W, A, classes) logits for each of A anchors of a cell
    # (B, H, W, A, n) encoded boxes; n = 7 at anchors, 8 (sine and cosine of the heading) without.
    BOX = "box"
    BINS = "bins"  # (B, N, 1, 1, K) boxes of N points, in bins: detectors/layers/bin_coder.py
    CODES = "codes"  # (B, N, 1, 1, K) boxes of N points, coded in another way
    DIR = "dir"  # (B, H, W, A, bins) logits of the heading's half-turn
    # Callable: scores (m,) from 0 to 1 of any boxes (m, 7) of each frame, without a gradient.
    JUDGE = "judge"


@dataclass(frozen=True)
class TapSpec:
    """What a method can know about a tap before it sees a value."""

    kind: Kind
    channels: int
    cell: float = 0.0  # metres a cell (BEV and head maps) or a voxel (rows)
    origin: tuple[float, float] = (0.0, 0.0)  # x, y of the map's corner, metres, LiDAR frame
    # BOX: encoded boxes to boxes (B, H, W, A, 7) in the LiDAR frame, differentiable; zeros give
    # the anchors.
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None
    # BOX: its inverse, boxes (B, H, W, A, 7) to codes at the places of this map, differentiable.
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None
    # BINS: of the first channels, how many are the logits of one softmax, of the next, and so on.
    bins: tuple[int, ...] = ()
    # Maps before the head: the head's outputs (`cls` is the tap `head.cls`, and so on) of such a
    # map (B, C, H, W), by the network's own weights. A frozen teacher's passes gradients on.
    apply: Callable[[torch.Tensor], dict[str, torch.Tensor]] | None = None
    # CLS: what the detection loss asks of these logits, given the network's taps and a batch:
    # targets, 0 or 1, and weights, both of the tap's shape. The loss of the scores p is the sum of
    # weight (target - p)^2 BCE(p, target), see ops/heads.py.
    asked: Callable[["Taps", Any], tuple[torch.Tensor, torch.Tensor]] | None = None
    # Maps before a ReLU: scale and shift (C,) of the batch norm that made them.
    affine: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Rows:
    """Sparse rows; teacher and student see the same batch, so row i is the same place."""

    features: torch.Tensor  # (n, C)
    # (n, 3) int64: frame in the batch, y cell, x cell; of points: frame, 0, number in the frame.
    # Sorted by frame.
    coordinates: torch.Tensor
    counts: torch.Tensor  # (n,) int64, raw points in each row's voxel; 1 for points
    positions: torch.Tensor | None = None  # of points: (n, 3) x, y, z in metres, LiDAR frame

    def __getitem__(self, index: Any) -> "Rows":
        """The rows of an index, a mask or a slice."""
        return Rows(**{k: None if v is None else v[index] for k, v in vars(self).items()})


TapSpecs = dict[str, TapSpec]
Taps = Mapping[str, "torch.Tensor | Rows"]


class LazyTaps(Mapping):
    """Taps whose stages run when one of theirs is first read.

    `stages` yields the taps of a detector stage by stage, `names` are those that it will have
    yielded at the end, and `around` gives what each stage runs in (no gradients, half precision).
    A name that begins with `_` is known once its stage has run.
    """

    def __init__(
        self,
        stages: Iterator[Taps],
        names: "Mapping[str, object]",
        around: Callable[[], AbstractContextManager],
    ):
        self._stages, self._names, self._around = stages, names, around
        self._found: dict[str, torch.Tensor | Rows] = {}

    def __getitem__(self, name: str) -> "torch.Tensor | Rows":
        while name not in self._found:
            if name not in self._names and not name.startswith("_"):
                raise KeyError(name)
            with self._around():
                stage = next(self._stages, None)
            if stage is None:
                raise KeyError(name)
            self._found |= stage
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names or name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __or__(self, other: Taps) -> dict:
        return dict(self) | dict(other)

    def __ror__(self, other: Taps) -> dict:
        return dict(other) | dict(self)


def find(pattern: str, specs: TapSpecs) -> list[str]:
    """Names of the taps a pattern asks for, in the detector's order.

    A pattern is a name, a name with wildcards (`backbone.*`), or alternatives of which the
    first that the detector has counts (`voxel|backbone.*`). Empty when there is none.
    """
    for alternative in pattern.split("|"):
        names = [name for name in specs if fnmatchcase(name, alternative)]
        if names:
            return names
    return []


def choose(pattern: str, specs: TapSpecs, *kinds: Kind) -> list[str]:
    """The taps that a method's option `tap` asks for: at least one, each of one of `kinds`.

    Raises UsageError otherwise.
    """
    fit = [name for name, spec in specs.items() if spec.kind in kinds]
    names = find(pattern, specs)
    if not names or not set(names) <= set(fit):
        raise UsageError(f"option tap: {pattern!r} must name taps among {', '.join(fit)}")
    return names


def missing(needs: tuple[str, ...], specs: TapSpecs) -> list[str]:
    """The patterns among `needs` for which a detector has no tap."""
    return [pattern for pattern in needs if not find(pattern, specs)]


def require(method: str, needs: tuple[str, ...], detector: str, specs: TapSpecs) -> None:
    """Raises NotApplicable when a method's needs are not met."""
    absent = missing(needs, specs)
    if absent:
        raise NotApplicable(
            f"method {method!r} is not applicable: needs {', '.join(absent)}; "
            f"detector {detector!r} provides {', '.join(specs)}"
        )

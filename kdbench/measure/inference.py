"""A detector made faster for inference alone.

What each option does to the time of a frame is measured by `tests/benchmarks/bench_inference.py`,
and for one detector by `kdbench latency --fused`. On a CPU, convolutions in float32 run about as
fast as its matrix products; folding saves passes over maps, and only fewer bits save more.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.ops.fold import fold_norms
from kdbench.taps import Taps

TOLERANCE = 1e-3  # how far folding may move a tap, on average and relative to its size
HALF = {"cuda": torch.float16, "cpu": torch.bfloat16}
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Options:
    """What is done besides folding batch norms into the layers before them."""

    half: bool = False  # 2D convolutions in float16 on CUDA, in bfloat16 on the CPU
    graph: bool = False  # the dense part replayed as a CUDA graph

    def __str__(self) -> str:
        return "+".join(["fused", *(name for name, chosen in vars(self).items() if chosen)])


@torch.no_grad()
def fused(detector: Detector, example: Batch, options: Options | None = None) -> Detector:
    """A copy of `detector` that gives the same detections in less time, and cannot be trained.

    `example` is a batch on the detector's device. In full precision outputs differ by rounding;
    this is made sure of on `example`, and a detector for which it does not hold is a
    RuntimeError. With `half` they differ as bfloat16 or float16 does from float32.

    The dense part, from the map to the head's outputs, is a detector's method `dense(map)`.
    Raises UsageError for an option that the detector or its device cannot take.
    """
    options = options or Options()
    device = next(detector.parameters()).device
    _check(detector, device, options)
    fast = copy.deepcopy(detector).eval().requires_grad_(False)
    inputs = fast.prepare(example)
    expected = fast(inputs)
    fold_norms(fast, lambda: fast(inputs))
    _check_same(expected, fast(inputs))
    if options.half:
        _halve(fast, HALF[device.type])
    if options.graph:
        fast.dense = Replayed(fast.dense)
    return fast


def largest_difference(expected: Taps, found: Taps) -> float:
    """Largest difference of the head's outputs."""
    names = [name for name in expected if name.startswith("head.")]
    return max(float((expected[n].float() - found[n].float()).abs().max()) for n in names)


class Replayed:
    """A function of one tensor, its kernels recorded once and replayed by CUDA after that.

    It must not wait for the device. A tensor of another shape is recorded anew. What a call
    returned is overwritten by the next.
    """

    def __init__(self, function: Callable[[Tensor], Taps]):
        self.function, self.graph, self.input = function, None, None

    def __call__(self, x: Tensor) -> Taps:
        if self.input is None or self.input.shape != x.shape:
            self._record(x)
        self.input.copy_(x)
        self.graph.replay()
        return self.output

    def _record(self, x: Tensor) -> None:
        with torch.inference_mode(False):  # so that any later call may write into it
            self.input = torch.empty_strided(
                x.shape, x.stride(), dtype=x.dtype, device=x.device
            ).copy_(x)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose and load their kernels beforehand
            for _ in range(3):
                self.function(self.input)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = self.function(self.input)


def _halve(module: nn.Module, dtype: torch.dtype) -> None:
    """Runs the 2D convolutions of `module` in `dtype`, and what follows them on their outputs."""
    for part in module.modules():
        if isinstance(part, CONVOLUTIONS):
            part.to(dtype)
            part.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))


def _check(detector: Detector, device: torch.device, options: Options) -> None:
    if options.graph and device.type != "cuda":
        raise UsageError(f"a CUDA graph needs a CUDA device, not {device.type}")
    if options.graph and not hasattr(detector, "dense"):
        raise UsageError(f"detector {detector.name!r} has no dense part to record")
    if options.half and not any(isinstance(m, CONVOLUTIONS) for m in detector.modules()):
        raise UsageError(f"detector {detector.name!r} has no 2D convolutions to run in half")


def _check_same(expected: Taps, found: Taps) -> None:
    for name in expected:
        if name.startswith("_"):  # no tap
            continue
        value, other = (getattr(taps[name], "features", taps[name]) for taps in (expected, found))
        moved = float((value - other).abs().sum() / value.abs().sum().clamp(min=1e-6))
        if not moved <= TOLERANCE:
            raise RuntimeError(f"folding batch norms moved tap {name!r} by {moved:.0%} of its size")

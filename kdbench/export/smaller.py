"""An ONNX file in float16 or int8, made of the one in float32, and what each costs and brings.

`half`: every layer from the first convolution on; what is before is metres, and stays.
`int8`: convolutions alone, static, a scale for each channel of a weight, and of activations the
range from the PERCENTILE of training frames. The last ones of the head stay: their outputs go from
-500 to 20, and steps of 2 are no scores.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from torch import Tensor

from kdbench.export.parity import Parity

Inputs = dict[str, Tensor]
KINDS = ("half", "int8")
CALIBRATION = 32  # training frames
PERCENTILE = 99.99
TURNS, TIMED = 5, 10  # times each frame is run, and how many
CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Form:
    """A file of one precision."""

    precision: str  # float32, half or int8
    path: Path
    parity: Parity  # with the detector; only that of float32 must be near
    p50: float | None  # median milliseconds a frame in onnxruntime, in turns with the others
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"path": str(self.path)}


def form_path(path: Path, kind: str) -> Path:
    """`model.onnx` as `model.int8.onnx`."""
    return path.with_name(f"{path.stem}.{kind}{path.suffix}")


def make(kind: str, source: Path, target: Path, frames: list[Inputs]) -> None:
    """Writes the smaller form of an ONNX file; `frames` are inputs of training frames."""
    {"half": _half, "int8": _int8}[kind](source, target, frames)


def _half(source: Path, target: Path, frames: list[Inputs]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    nodes = list(model.graph.node)
    layers = [i for i, node in enumerate(nodes) if node.op_type in CONVOLUTIONS]
    first = layers[0] if layers else 0
    before = [node.name for node in nodes[:first]]
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=before)
    onnx.save(half, target)


def _int8(source: Path, target: Path, frames: list[Inputs]) -> None:
    import onnx
    from onnxruntime import quantization

    class Frames(quantization.CalibrationDataReader):
        """The frames, of which the quantiser takes one at a time: all maps of each are kept."""

        def __len__(self):
            return len(frames)

        def set_range(self, start_index, end_index):
            self.left = iter(frames[start_index:end_index])

        def get_next(self):
            found = next(self.left, None)
            return found and {name: x.numpy() for name, x in found.items()}

    with _quiet():
        quantization.quantize_static(
            source,
            target,
            Frames(),
            per_channel=True,
            op_types_to_quantize=list(CONVOLUTIONS),
            nodes_to_exclude=last_convolutions(onnx.load(source)),
            activation_type=quantization.QuantType.QUInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )


def last_convolutions(model) -> list[str]:
    """The names of the nodes of an ONNX model after which no convolution comes."""
    leading: set[str] = set()  # tensors that a convolution comes after
    last = []
    for node in reversed(model.graph.node):
        goes_on = not leading.isdisjoint(node.output)
        if node.op_type in CONVOLUTIONS and not goes_on:
            last.append(node.name)
        if node.op_type in CONVOLUTIONS or goes_on:
            leading.update(node.input)
    return last


def in_turns(programs: list[Callable[[Inputs], Any]], frames: list[Inputs]) -> list[float]:
    """Median milliseconds a frame of each program, all of them on a frame before the next."""
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(TURNS + 1):
        for frame in frames:
            for program, own in zip(programs, times, strict=True):
                started = perf_counter()
                program(frame)
                own.append(1e3 * (perf_counter() - started))
    return [median(own[len(frames) :]) for own in times]  # the first turn warms up


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's remarks; what goes wrong is an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)

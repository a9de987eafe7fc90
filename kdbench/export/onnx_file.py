"""A graph as an ONNX file, written by torch's exporter and run by onnxruntime."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from kdbench.detector import Graph
from kdbench.errors import KdbenchError, UsageError
from kdbench.export.shapes import dynamic_shapes

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSETS = range(18, 24)  # the reduction of ScatterElements came with 18
OPSET = 18


def check(opset: int | None) -> None:
    """Raises KdbenchError when this machine cannot write ONNX, or not with that opset."""
    if opset is not None and opset not in OPSETS:
        raise UsageError(f"--opset {opset}: it must be from {OPSETS[0]} to {OPSETS[-1]}")
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        raise KdbenchError(
            f"--format onnx needs {', '.join(absent)}: pip install 'kdbench[export]'"
        )


def write(graph: Graph, example: dict[str, Tensor], path: Path, opset: int | None = None) -> None:
    """Writes `graph` to one file; `example` are inputs of a frame."""
    with _quiet():
        program = torch.onnx.export(
            graph,
            tuple(example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=list(graph.outputs),
            dynamic_shapes=dynamic_shapes(example),
            opset_version=opset or OPSET,
            external_data=False,
            verbose=False,
        )
        program.save(path, external_data=False)


class Program:
    """A file of `write` in onnxruntime, on the CPU."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """The outputs for the inputs of a frame."""
        found = self.session.run(None, {name: x.numpy() for name, x in inputs.items()})
        return [torch.from_numpy(output) for output in found]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself; what goes wrong is an exception."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)

"""A graph as a file of `torch.export`, for PyTorch without kdbench."""

from pathlib import Path

import torch
from torch import Tensor

from kdbench.detector import Graph
from kdbench.errors import UsageError
from kdbench.export.shapes import dynamic_shapes


def check(opset: int | None) -> None:
    """Raises UsageError for an opset, which only ONNX has."""
    if opset is not None:
        raise UsageError("--opset is for --format onnx alone")


def write(graph: Graph, example: dict[str, Tensor], path: Path, opset: int | None = None) -> None:
    """Writes `graph` to one file; `example` are inputs of a frame."""
    program = torch.export.export(
        graph, tuple(example.values()), dynamic_shapes=dynamic_shapes(example)
    )
    with path.open("wb") as file:  # by name it would ask for the ending .pt2
        torch.export.save(program, file)


class Program:
    """A file of `write`, loaded again."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            self.module = torch.export.load(file).module()

    def __call__(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """The outputs for the inputs of a frame."""
        return list(self.module(*inputs.values()))

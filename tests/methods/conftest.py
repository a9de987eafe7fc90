"""Small random taps for tests of methods."""

from dataclasses import replace

import pytest
import torch

from kdbench.dataset import Batch
from kdbench.taps import Kind, Rows, TapSpec

STUDENT, TEACHER = 3, 5  # channels


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def batch():
    """What the methods here do not look at."""
    return Batch(["0", "1"], torch.zeros(0, 5), [torch.zeros(0, 7)] * 2, [torch.zeros(0)] * 2)


@pytest.fixture
def scene(batch, generator):
    """Frames of 12 x 8 m with 3 boxes and 2."""
    boxes = [
        torch.rand(m, 7, generator=generator) * 3 + torch.tensor([4.0, 2] + [1] * 5) for m in (3, 2)
    ]
    return replace(batch, boxes=boxes)


def specs(channels):
    maps = {f"backbone.{i}": TapSpec(Kind.BEV, channels * 2**i) for i in range(3)}
    return {
        "voxel": TapSpec(Kind.ROWS, channels),
        **maps,
        "neck": TapSpec(Kind.BEV, 2 * channels),
        "head.cls": TapSpec(Kind.CLS, 3),
    }


@pytest.fixture
def student_specs():
    return specs(STUDENT)


@pytest.fixture
def teacher_specs():
    return specs(TEACHER)


def taps(channels, generator):
    """Two frames; float64, so that loops and finite differences can be compared closely."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    maps = {f"backbone.{i}": normal(2, channels * 2**i, 8 // 2**i, 12 // 2**i) for i in range(3)}
    frame = torch.tensor([0] * 14 + [1] * 10)
    coordinates = torch.stack([frame, torch.arange(24), torch.zeros(24, dtype=torch.long)], dim=1)
    counts = torch.tensor([3, 40, 1, 7, 90, 2, 5, 11, 6, 8, 33, 9, 4, 12] + list(range(10, 0, -1)))
    return {
        "voxel": Rows(normal(24, channels), coordinates, counts),
        **maps,
        "neck": normal(2, 2 * channels, 8, 12),
        "head.cls": normal(2, 8, 12, 6, 3),
    }


@pytest.fixture
def student(generator):
    return taps(STUDENT, generator)


@pytest.fixture
def teacher(generator):
    return taps(TEACHER, generator)

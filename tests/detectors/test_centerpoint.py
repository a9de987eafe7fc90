"""What is CenterPoint's own: its sizes counted by hand, its options, the taps it lacks."""

import math
from functools import partial

import pytest

from kdbench.detectors.centerpoint import CenterPoint
from kdbench.errors import UsageError
from kdbench.measure.compression import network_size, parameters
from kdbench.taps import missing
from kdbench.training.conformance import tiny_scene
from tests.detectors.forms import CLASSES, RANGE, build

detector = partial(build, "centerpoint-pillar")


# Size


def conv(inputs, outputs, kernel=9):
    """Weights of a convolution and its norm."""
    return inputs * outputs * kernel + 2 * outputs


def head_weights(neck, width):
    outputs = 3 + 2 + 1 + 3 + 2
    return conv(neck, width) + 5 * conv(width, width) + 9 * width * outputs + outputs


def pillar_weights(root):
    a, b, c, n = (w // root for w in (64, 128, 256, 128))
    backbone = conv(a, a) + 3 * conv(a, a) + conv(a, b) + 5 * conv(b, b)
    backbone += conv(b, c) + 5 * conv(c, c)
    neck = conv(a, n, 1) + conv(b, n, 4) + conv(c, n, 16)
    return conv(9, a, 1) + backbone + neck + head_weights(3 * n, a)


def voxel_weights(root):
    a, b, c, out, w2, n = (w // root for w in (16, 32, 64, 128, 256, 256))
    encoder = conv(4, a, 27) + conv(a, a, 27) + conv(a, b, 27) + 2 * conv(b, b, 27)
    encoder += conv(b, c, 27) + 5 * conv(c, c, 27) + conv(c, out, 3)
    backbone = conv(2 * out, out) + 5 * conv(out, out) + conv(out, w2) + 5 * conv(w2, w2)
    neck = conv(out, n, 1) + conv(w2, n, 4)
    return encoder + backbone + neck + head_weights(2 * n, c)


@pytest.mark.parametrize(
    "form, ratio, count",
    [
        ("pillar", 1, 5_219_723), ("pillar", 4, 1_308_363), ("pillar", 16, 328_811),
        ("voxel", 1, 5_774_987), ("voxel", 4, 1_447_691), ("voxel", 16, 363_899),
    ],
)  # fmt: skip
def test_parameters_are_those_of_a_count_by_hand(form, ratio, count):
    network = CenterPoint(CLASSES, ratio, form=form)
    weights = pillar_weights if form == "pillar" else voxel_weights
    assert parameters(network) == count == weights(math.isqrt(ratio))


def test_macs_of_the_dense_part():
    network = detector(ratio=16)
    stages = network_size(network, [tiny_scene(RANGE, frames=1)])["macs_by_stage"]
    cells = [20 * 16, 10 * 8, 5 * 4]
    layers = [4 * 16 * 16, 16 * 32 + 5 * 32 * 32, 32 * 64 + 5 * 64 * 64]
    assert stages["backbone"] == sum(9 * n * c for n, c in zip(layers, cells, strict=True))
    assert stages["neck"] == cells[0] * 32 * (16 + 32 + 64)
    assert stages["head"] == cells[0] * 9 * (96 * 16 + 5 * 16 * 16 + 16 * 11)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "pilar"}, "unknown form of centerpoint 'pilar'; did you mean 'pillar'"),
        ({"pillar_size": 0.7}, "centerpoint: the grid .* pillars .* pillar_size"),
        ({"pillar_size": -0.64}, "centerpoint: .* pillar_size above 0"),
        ({"point_range": [0, 1]}, "centerpoint: point_range must be"),
        ({"form": "voxel", "voxel_size": (0.3, 0.16, 0.16)}, "centerpoint: the grid .* voxels"),
        ({"form": "voxel", "voxel_size": (0.16, 0.16)}, "centerpoint: .*voxel_size"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        detector(**options)


@pytest.mark.parametrize(
    "form, cells, cell", [("pillar", (432, 496), 0.32), ("voxel", (864, 992), 0.64)]
)
def test_the_grids_of_the_default_options(form, cells, cell):
    network = CenterPoint(CLASSES, 100, form=form)
    grid = network.encoder.grid
    assert (grid.width, grid.height) == cells
    assert network.taps["head.cls"].cell == pytest.approx(cell)
    assert network.point_range == grid.point_range == (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


# Taps


def test_methods_that_need_directions_or_rows_are_told():
    assert missing(("head.dir", "head.box"), detector().taps) == ["head.dir"]
    assert missing(("voxel",), build("centerpoint-voxel").taps) == ["voxel"]

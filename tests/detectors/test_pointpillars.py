"""What is PointPillars' own: sizes, what a network sees, a map that follows its pillars."""

from functools import partial

import pytest
import torch

from kdbench.detectors.layers.pillar_encoder import decorate
from kdbench.detectors.pointpillars import PointPillars
from kdbench.errors import UsageError
from kdbench.measure.compression import parameters
from kdbench.ops.voxelise import Grid, pillarise
from kdbench.training.conformance import tiny_scene
from tests.detectors.forms import CLASSES, RANGE, batch_of, build

detector = partial(build, "pointpillars")


# Size


@pytest.mark.parametrize("ratio, count", [(1, 4_834_824), (4, 1_217_320), (16, 308_664)])
def test_the_published_networks_have_their_parameters(ratio, count):
    assert parameters(detector(ratio)) == count


@pytest.mark.parametrize(
    "options",
    [
        {"point_range": [0, 1]},
        {"pillar_size": 0.0},
        {"pillar_size": -0.64},
        {"pillar_size": 0.7},
        {"point_range": [25.6, -10.24, -3, 0, 10.24, 1]},
    ],
)
def test_a_grid_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError, match="point_range.* pillar_size"):
        detector(**options)


def test_the_published_grid_gives_the_published_map():
    network = PointPillars(CLASSES, 100)
    assert network.head.anchors.shape == (248, 216, 6, 7)
    assert network.head.anchors.is_contiguous()


# What a network sees


def test_decorated_points_carry_their_offsets_to_the_mean_and_the_centre():
    grid = Grid(RANGE, (0.64, 0.64))
    pillars = pillarise(tiny_scene(RANGE).points, grid, 2)
    features = decorate(pillars, grid).split(pillars.counts.tolist())
    parts = pillars.points.split(pillars.counts.tolist())
    for (_, y, x), part, feature in zip(pillars.coordinates.tolist(), parts, features, strict=True):
        xyz = part[:, :3]
        centre = torch.tensor([(x + 0.5) * 0.64, -10.24 + (y + 0.5) * 0.64])
        expected = torch.cat([part, xyz - xyz.mean(0), xyz[:, :2] - centre], dim=1)
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)
        assert (feature[:, 7:].abs() <= 0.32 + 1e-5).all()


def test_a_row_is_the_greatest_of_its_points_each_on_its_own():
    network = detector().eval()
    inputs = network.prepare(tiny_scene(RANGE))
    encoder = network.encoder
    rows = encoder(inputs.features, inputs.pillars.counts)
    points = torch.relu(encoder.norm(encoder.linear(inputs.features)))
    expected = [p.amax(0) for p in points.split(inputs.pillars.counts.tolist())]
    torch.testing.assert_close(rows, torch.stack(expected))
    assert network(inputs)["voxel"].counts.sum() == len(inputs.features)


def test_a_map_follows_its_pillars():
    network = detector().eval()
    near, far = ([0, x, -5.0, -1, 0.5] for x in (2.0, 23.0))
    maps = [
        network(network.prepare(batch_of(torch.tensor([point]), 1)))["backbone.0"][0]
        for point in (near, far)
    ]
    empty = network(network.prepare(batch_of(torch.zeros(0, 5), 1)))["backbone.0"][0]
    for x, changed in zip((2.0, 23.0), maps, strict=True):
        _, row, column = ((changed - empty).abs() > 1e-6).nonzero().float().mean(0)
        assert (column + 0.5) * 1.28 == pytest.approx(x, abs=2)
        assert (row + 0.5) * 1.28 - 10.24 == pytest.approx(-5, abs=2)

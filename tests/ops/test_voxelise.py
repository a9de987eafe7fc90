"""Pillars and voxels against a plain dictionary of points."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench.ops import voxelise as V
from kdbench.ops.voxelise import Grid, pillarise, voxelise

GRID = Grid((-1.0, -2.0, -1.0, 3.0, 2.0, 1.0), (0.5, 1.0))  # 8 cells along x, 4 along y
FRAMES = 3


def cloud(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def brute_force(points, grid):
    """(frame, y cell, x cell) -> the points there, in their order."""
    low, high = np.float32(grid.point_range[:3]), np.float32(grid.point_range[3:])
    cells = defaultdict(list)
    for point in points.numpy():
        frame, xyz = int(point[0]), point[1:4]
        if (xyz >= low).all() and (xyz < high).all():
            x, y = (int((xyz[i] - low[i]) / np.float32(grid.cell[i])) for i in (0, 1))
            place = frame, min(y, grid.height - 1), min(x, grid.width - 1)
            cells[place].append(point[1:].tolist())
    return dict(cells)


def as_dictionary(pillars):
    parts = pillars.points.split(pillars.counts.tolist())
    return {
        tuple(place): part.tolist()
        for place, part in zip(pillars.coordinates.tolist(), parts, strict=True)
    }


coordinate = st.one_of(
    st.floats(-3.5, 3.5, width=32),
    st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0]),  # on borders of cells
)


@st.composite
def clouds(draw):
    n = draw(st.integers(0, 40))
    points = draw(arrays(np.float32, (n, 5), elements=coordinate))
    points[:, 0] = draw(arrays(np.float32, n, elements=st.sampled_from([0.0, 1.0, 2.0])))
    return torch.from_numpy(points)


@settings(max_examples=150, deadline=None)
@given(clouds())
def test_equals_a_dictionary_of_points(points):
    pillars = pillarise(points, GRID, FRAMES)
    assert as_dictionary(pillars) == brute_force(points, GRID)
    assert pillars.counts.sum() == len(pillars.points) == len(pillars.row)
    assert (pillars.counts >= 1).all()
    owner = torch.arange(len(pillars.counts)).repeat_interleave(pillars.counts)
    assert torch.equal(pillars.row, owner)
    places = [tuple(place) for place in pillars.coordinates.tolist()]
    assert places == sorted(set(places))


def test_on_the_published_grid_equals_a_dictionary_of_points():
    grid = Grid((0.0, -39.68, -3.0, 69.12, 39.68, 1.0), (0.16, 0.16))
    assert (grid.width, grid.height) == (432, 496)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(5000, 5, generator=generator) * torch.tensor([2, 75, 85, 5, 1])
    points -= torch.tensor([0, 2, 42, 3.5, 0])
    points[:, 0] = points[:, 0].floor()
    assert as_dictionary(pillarise(points, grid, 2)) == brute_force(points, grid)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_point_outside_is_dropped(axis, side):
    outside = cloud([0, 0, 0, 0, 1])
    outside[0, axis] = side * 10
    pillars = pillarise(torch.cat([cloud([0, 0, 0, 0, 2]), outside]), GRID, 1)
    assert pillars.points.tolist() == [[0, 0, 0, 2]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_point_that_is_not_finite_is_dropped(value):
    assert len(pillarise(cloud([0, value, 0, 0, 1]), GRID, 1).points) == 0


def test_the_lower_border_is_inside_and_the_upper_outside():
    low, high = GRID.point_range[:3], GRID.point_range[3:]
    pillars = pillarise(cloud([0, *low, 1], [0, *high, 2]), GRID, 1)
    assert pillars.points[:, 3].tolist() == [1]
    assert pillars.coordinates.tolist() == [[0, 0, 0]]


def test_the_last_float_before_the_upper_border_falls_into_the_last_cell():
    grid = Grid((-39.68, -39.68, -3.0, 39.68, 39.68, 1.0), (0.16, 0.16))
    last = np.nextafter(np.float32(39.68), np.float32(0))  # 496.0 cells from the lower border
    pillars = pillarise(cloud([0, last, last, 0, 0]), grid, 1)
    assert pillars.coordinates.tolist() == [[0, 495, 495]]


def test_no_points_give_no_pillars():
    pillars = pillarise(torch.zeros(0, 5), GRID, FRAMES)
    assert pillars.points.shape == (0, 4)
    assert pillars.coordinates.shape == (0, 3)
    assert len(pillars.counts) == len(pillars.row) == 0
    assert pillars.frames == FRAMES


def test_one_point_gives_one_pillar():
    pillars = pillarise(cloud([1, 0.6, -0.5, 0.25, 0.75]), GRID, 2)
    assert pillars.coordinates.tolist() == [[1, 1, 3]]
    assert pillars.counts.tolist() == [1]
    assert pillars.points.tolist() == [[torch.tensor(0.6).item(), -0.5, 0.25, 0.75]]


def test_frames_without_points_have_no_pillars():
    pillars = pillarise(cloud([2, 0, 0, 0, 1], [2, 2, 1, 0, 1]), GRID, 4)
    assert pillars.coordinates[:, 0].tolist() == [2, 2]
    assert pillars.frames == 4


def test_the_input_is_left_as_it_was():
    points = cloud([1, 2.9, 1.9, 0, 1], [0, 0, 0, 0, 2])
    before = points.clone()
    pillarise(points, GRID, 2)
    assert torch.equal(points, before)


# Voxels


VOXELS = Grid((-1.0, -2.0, -1.0, 3.0, 2.0, 1.0), (0.5, 1.0, 0.25))  # 8 along x, 4 y, 8 z


def voxels_by_force(points, grid):
    """(frame, z cell, y cell, x cell) -> the points there, in their order."""
    sizes = (grid.width, grid.height, grid.depth)
    low, high = np.float32(grid.point_range[:3]), np.float32(grid.point_range[3:])
    voxels = defaultdict(list)
    for point in points.numpy():
        xyz = point[1:4]
        if (xyz >= low).all() and (xyz < high).all():
            x, y, z = (
                min(int((xyz[i] - low[i]) / np.float32(grid.cell[i])), sizes[i] - 1)
                for i in range(3)
            )
            voxels[int(point[0]), z, y, x].append(point[1:])
    return dict(voxels)


@settings(max_examples=150, deadline=None)
@given(clouds())
def test_voxels_hold_the_mean_of_their_points(points):
    voxels = voxelise(points, VOXELS, FRAMES)
    expected = voxels_by_force(points, VOXELS)
    places = [tuple(place) for place in voxels.coordinates.tolist()]
    assert places == sorted(expected)
    assert voxels.counts.tolist() == [len(expected[place]) for place in places]
    for place, feature in zip(places, voxels.features.numpy(), strict=True):
        np.testing.assert_allclose(feature, np.mean(expected[place], axis=0), rtol=1e-5, atol=1e-6)
    assert voxels.frames == FRAMES


def test_the_published_grid_of_voxels():
    grid = Grid((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1))
    assert (grid.width, grid.height, grid.depth) == (1408, 1600, 40)
    voxels = voxelise(cloud([0, 70.39, 39.99, 0.99, 1], [0, 0.01, -39.99, -2.99, 0]), grid, 1)
    assert voxels.coordinates.tolist() == [[0, 0, 0, 0], [0, 39, 1599, 1407]]


def test_voxels_of_one_column_are_one_pillar():
    points = cloud([0, 0.1, 0.1, -0.9, 1], [0, 0.2, 0.2, 0.9, 0], [0, 0.3, 0.1, 0.9, 1])
    voxels, pillars = voxelise(points, VOXELS, 1), pillarise(points, VOXELS, 1)
    assert voxels.coordinates.tolist() == [[0, 0, 2, 2], [0, 7, 2, 2]]
    assert voxels.counts.tolist() == [1, 2]
    assert pillars.coordinates.tolist() == [[0, 2, 2]]


def test_no_points_give_no_voxels():
    voxels = voxelise(torch.zeros(0, 5), VOXELS, FRAMES)
    assert voxels.features.shape == (0, 4)
    assert voxels.coordinates.shape == (0, 4)
    assert len(voxels.counts) == 0
    assert voxels.frames == FRAMES


# The ways of a CPU and of a GPU


@settings(max_examples=150, deadline=None)
@given(clouds(), st.booleans())
def test_both_ways_give_the_same(points, voxels):
    grid = Grid((*GRID.point_range,), (0.5, 1.0, 0.5)) if voxels else GRID
    sizes = (grid.width, grid.height, grid.depth) if voxels else (grid.width, grid.height)
    arguments = points, grid, sizes, FRAMES * int(np.prod(sizes))
    host, device = V._sort_on_host(*arguments), V._sort_on_device(*arguments)
    for ours, other in zip(host, device, strict=True):
        assert torch.equal(ours, other)
    order, counts, _ = host
    means = V._means_on_host(points, order, counts)
    torch.testing.assert_close(means, V._means_on_device(points, order, counts))


@pytest.mark.cuda
@pytest.mark.parametrize("function", [pillarise, voxelise])
def test_cuda_equals_cpu(function):
    grid = Grid((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.2, 0.2, 0.4))
    points = torch.rand(9000, 5) * torch.tensor([2, 75, 85, 5, 1])
    points -= torch.tensor([0, 2, 42, 3.5, 0])
    points[:, 0] = points[:, 0].floor()
    found, expected = function(points.cuda(), grid, 2), function(points, grid, 2)
    for name in ("counts", "coordinates", "points" if function is pillarise else "features"):
        torch.testing.assert_close(getattr(found, name).cpu(), getattr(expected, name))

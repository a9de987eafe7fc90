import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point
from shapely.geometry import box as rectangle

from kdbench.ops.regions import box_grid, cell_centres, foreground, pool_boxes, sample_map
from kdbench.taps import Kind, TapSpec

SPEC = TapSpec(Kind.BEV, 2, cell=0.5, origin=(-1.0, -3.0))
HEIGHT, WIDTH = 12, 16  # y from -3 to 3, x from -1 to 7


def plane() -> torch.Tensor:
    """A map whose two channels are the x and y of each cell's centre."""
    return cell_centres(SPEC, HEIGHT, WIDTH).permute(2, 0, 1).double()


def footprint(box):
    x, y, _, length, width, _, yaw = box
    upright = rectangle(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return affinity.rotate(upright, yaw, origin=(x, y), use_radians=True)


def test_cell_centres():
    centres = cell_centres(SPEC, HEIGHT, WIDTH)
    assert centres[0, 0].tolist() == [-0.75, -2.75]
    assert centres[11, 15].tolist() == [6.75, 2.75]


def test_a_box_grid_turns_with_its_box():
    box = torch.tensor([[1.0, 2, 0, 4, 2, 1, math.pi / 2]])
    grid = box_grid(box, 2)
    # Length along +y: its first half lies at y = 1, the box's left at smaller x.
    torch.testing.assert_close(grid[0, 0, 0], torch.tensor([1.5, 1.0]))
    torch.testing.assert_close(grid[0, 1, 1], torch.tensor([0.5, 3.0]))
    assert box_grid(torch.zeros(0, 7), 3).shape == (0, 3, 3, 2)


@given(st.floats(0, 5.5), st.floats(-2, 2), st.floats(-4, 4))
def test_sampling_a_linear_map_gives_the_points_themselves(x, y, yaw):
    box = torch.tensor([[x, y, 0, 0.9, 0.7, 1, yaw]], dtype=torch.float64)
    grid = box_grid(box, 3)
    torch.testing.assert_close(sample_map(plane(), grid, SPEC), grid)


def test_outside_the_map_features_are_zero():
    far = torch.tensor([[50.0, 0.0], [-30.0, 1.0]], dtype=torch.float64)
    assert (sample_map(plane(), far, SPEC) == 0).all()


def test_boxes_are_pooled_from_their_own_frame():
    maps = torch.stack([plane(), plane() + 100])
    boxes = [torch.tensor([[2.0, 0, 0, 1, 1, 1, 0.3]]).double(), torch.zeros(0, 7).double()]
    assert pool_boxes(maps, boxes, SPEC, 2).shape == (1, 2, 2, 2)
    pooled = pool_boxes(maps, boxes[::-1], SPEC, 2)
    torch.testing.assert_close(pooled, box_grid(boxes[0], 2) + 100)
    assert pool_boxes(maps, [boxes[1]] * 2, SPEC, 2).shape == (0, 2, 2, 2)


def test_gradients_reach_the_map():
    x = plane()[None].requires_grad_()
    box = [torch.tensor([[2.1, 0.3, 0, 1, 1, 1, 0.3]], dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda m: pool_boxes(m, box, SPEC, 2), x)


@given(
    st.floats(0, 6), st.floats(-2.5, 2.5), st.floats(0.8, 4), st.floats(0.8, 3), st.floats(-4, 4)
)
def test_foreground_are_the_cells_whose_centre_is_inside(x, y, length, width, yaw):
    box = [x, y, 0, length, width, 1, yaw]
    (owner,) = foreground([torch.tensor([box], dtype=torch.float64)], SPEC, HEIGHT, WIDTH)
    shape, centres = footprint(box), cell_centres(SPEC, HEIGHT, WIDTH)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            centre = Point(*centres[row, column].tolist())
            if shape.exterior.distance(centre) > 1e-6:
                assert (owner[row, column] == 0) == shape.contains(centre)


def test_a_box_smaller_than_a_cell_takes_the_cell_it_stands_in():
    small = torch.tensor([[2.05, 0.05, 0, 0.1, 0.1, 1, 0.0]])
    (owner,) = foreground([small], SPEC, HEIGHT, WIDTH)
    assert (owner == 0).nonzero().tolist() == [[6, 6]]


def test_frames_without_boxes_have_no_foreground():
    assert (foreground([torch.zeros(0, 7)] * 2, SPEC, HEIGHT, WIDTH) == -1).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_overlapping_boxes_the_later_counts(order):
    boxes = torch.tensor([[2.0, 0, 0, 2, 2, 1, 0], [2.5, 0, 0, 2, 2, 1, 0]])[list(order)]
    (owner,) = foreground([boxes], SPEC, HEIGHT, WIDTH)
    assert owner[6, 6] == 1

"""Maps of one grid at the cells of another, against planes and loops."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from kdbench.ops.resample import Cells, bilinear, nearest

COARSE = Cells((-4.0, 2.0), 1.0, 6, 8)
FINE = Cells((-3.2, 2.4), 0.4, 12, 10)

sides = st.floats(0.2, 2.0)
corners = st.tuples(st.floats(-5, 5), st.floats(-5, 5))
cells = st.builds(Cells, corners, sides, st.integers(1, 9), st.integers(1, 9))


def test_the_same_cells_give_the_same_values():
    maps = torch.rand(2, 3, 6, 8)
    assert bilinear(maps, COARSE, Cells((-4.0, 2.0), 1.0, 6, 8)) is maps
    assert nearest(maps, COARSE, COARSE) is maps


def test_a_plane_stays_a_plane_by_metres():
    x, y = (side.double() for side in COARSE.centres())
    plane = (3 * x[None, :] - 2 * y[:, None] + 1)[None, None]
    found = bilinear(plane, COARSE, FINE)[0, 0]
    x, y = (side.double() for side in FINE.centres())
    expected = 3 * x[None, :] - 2 * y[:, None] + 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@given(cells, cells, st.integers(0, 99))
def test_bilinear_is_scipys(own, other, seed):
    maps = torch.rand(1, 1, own.height, own.width, generator=torch.Generator().manual_seed(seed))
    x, y = other.centres()
    columns = (x - own.origin[0]) / own.cell - 0.5
    rows = (y - own.origin[1]) / own.cell - 0.5
    places = torch.stack(torch.broadcast_tensors(rows[:, None], columns[None, :]))
    expected = map_coordinates(maps[0, 0].numpy(), places.numpy(), order=1, mode="nearest")
    found = bilinear(maps, own, other)[0, 0]
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-3)


@given(cells, cells)
def test_the_nearest_cell_is_the_one_that_holds_the_centre(own, other):
    numbers = torch.arange(own.height * own.width).view(1, own.height, own.width, 1)
    found = nearest(numbers, own, other)[0, ..., 0]
    assert found.shape == (other.height, other.width)
    for i in range(other.height):
        for j in range(other.width):
            row, column = divmod(int(found[i, j]), own.width)
            for axis, index, count, place in ((0, column, own.width, j), (1, row, own.height, i)):
                centre = other.origin[axis] + (place + 0.5) * other.cell
                inside = (centre - own.origin[axis]) / own.cell - index
                assert inside > -1e-3 or index == 0
                assert inside < 1 + 1e-3 or index == count - 1


def test_gradients_reach_the_map():
    maps = torch.rand(1, 2, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bilinear(x, COARSE, FINE), maps)

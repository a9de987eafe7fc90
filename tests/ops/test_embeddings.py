import pytest
import torch

from kdbench.ops.embeddings import draw_places, embed_boxes, take
from kdbench.ops.regions import cell_centres
from kdbench.taps import Kind, Rows, TapSpec

SPEC = TapSpec(Kind.BEV, 2, cell=0.5, origin=(-1.0, -3.0))


def plane():
    """A map whose two channels are the x and y of each cell's centre."""
    return cell_centres(SPEC, 12, 16).permute(2, 0, 1).double()


def rows():
    """Frames 0 and 2 with 5 and 3 rows; each row's feature is its number."""
    frame = torch.tensor([0] * 5 + [2] * 3)
    coordinates = torch.stack([frame, torch.arange(8), torch.arange(8)], dim=1)
    return Rows(torch.arange(8.0).view(8, 1), coordinates, torch.ones(8, dtype=torch.long))


def test_a_box_on_a_plane_has_its_centre_as_its_embedding():
    boxes = [
        torch.tensor([[2.0, 0.3, 0, 3, 1.4, 1, 0.7], [4, -1, 0, 2, 1, 1, -2]]),
        torch.zeros(0, 7),
    ]
    found = embed_boxes(torch.stack([plane(), plane()]), boxes, SPEC)
    torch.testing.assert_close(found, boxes[0][:, :2].double())


def test_no_boxes_have_no_embeddings_but_a_gradient():
    x = torch.stack([plane(), plane()]).requires_grad_()
    found = embed_boxes(x, [torch.zeros(0, 7)] * 2, SPEC)
    assert found.shape == (0, 2)
    found.sum().backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("n, expected", [(7, 7), (1000, 192)])
def test_positions_of_a_map_are_drawn_without_repeats(n, expected):
    x = torch.stack([plane(), plane() + 100])
    places = draw_places(x, n)
    assert [len(p.unique()) for p in places] == [expected] * 2
    for frame, p, found in zip(x, places, take(x, places), strict=True):
        for place, features in zip(p.tolist(), found, strict=True):
            assert torch.equal(features, frame[:, place // 16, place % 16])


def test_rows_are_drawn_from_each_frame_that_has_any():
    found = [x.flatten().sort().values.tolist() for x in take(rows(), draw_places(rows(), 100))]
    assert found == [[0, 1, 2, 3, 4], [5, 6, 7]]
    first, second = take(rows(), draw_places(rows(), 2))
    assert first.max() < 5 <= second.min() and len(first) == len(second) == 2
    assert draw_places(rows()[:0], 2) == []


def test_every_place_is_drawn_in_the_long_run_and_the_seed_decides_which():
    torch.manual_seed(0)
    first = [draw_places(plane()[None], 5)[0] for _ in range(300)]
    torch.manual_seed(0)
    assert torch.equal(first[0], draw_places(plane()[None], 5)[0])
    assert len(torch.cat(first).unique()) == 192

"""Ball query, nearest points and interpolation against full matrices of distances."""

import pytest
import torch

from kdbench.ops import point_grouping
from kdbench.ops.point_grouping import ball_query, gather_rows, interpolate, three_nearest


@pytest.fixture(params=["host", "device"])
def implementation(request, monkeypatch):
    """What runs on the CPU, and what runs on any other device: both on the CPU."""
    if request.param == "device":
        monkeypatch.setattr(point_grouping, "_on_host", lambda x: False)
        monkeypatch.setattr(point_grouping, "PAIRS_AT_ONCE", 200)  # several chunks


def cloud(frames, n, seed=0, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.randn(frames, n, 3, generator=draw)


def distances(queries, points):
    return (queries[:, :, None].double() - points[:, None].double()).square().sum(-1).sqrt()


def ball_by_loop(centres, points, radius, count):
    rows = []
    for distance in distances(centres, points).flatten(0, 1):
        inside = [i for i, d in enumerate(distance.tolist()) if d < radius][:count]
        first = inside[0] if inside else 0
        rows.append(inside + [first] * (count - len(inside)))
    return torch.tensor(rows).view(*centres.shape[:2], count)


@pytest.mark.parametrize("radius", [0.05, 0.7, 10.0])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_ball_query_equals_a_loop(implementation, radius, count):
    centres, points = cloud(2, 13, seed=1), cloud(2, 40)
    expected = ball_by_loop(centres, points, radius, count)
    assert torch.equal(ball_query(centres, points, radius, count), expected)


def test_a_centre_that_is_a_point_finds_itself(implementation):
    points = cloud(2, 50)
    found = ball_query(points, points, 1e-3, 4)
    assert torch.equal(found, torch.arange(50).view(1, 50, 1).expand(2, 50, 4))


def test_a_point_at_the_radius_is_outside(implementation):
    points = torch.tensor([[[2.0, 0, 0], [0, 0.5, 0]]])
    assert ball_query(torch.zeros(1, 1, 3), points, 2.0, 2).tolist() == [[[1, 1]]]


def test_more_neighbours_than_points(implementation):
    found = ball_query(torch.zeros(1, 1, 3), torch.zeros(1, 3, 3), 1.0, 5)
    assert found.tolist() == [[[0, 1, 2, 0, 0]]]


def test_three_nearest_equals_a_full_sort(implementation):
    queries, points = cloud(2, 21, seed=1), cloud(2, 30)
    index, weight = three_nearest(queries, points)
    distance, order = distances(queries, points).sort(dim=2)
    assert torch.equal(index, order[..., :3])
    inverse = 1 / (distance[..., :3].square() + 1e-8)
    torch.testing.assert_close(weight.double(), inverse / inverse.sum(-1, keepdim=True))


@pytest.mark.parametrize("n", [1, 2])
def test_with_fewer_than_three_points_the_nearest_fills_the_rest(implementation, n):
    queries, points = cloud(1, 5, seed=1), cloud(1, n)
    index, weight = three_nearest(queries, points)
    order = distances(queries, points).argsort(dim=2)
    assert torch.equal(index[..., :n], order)
    assert torch.equal(index[..., n:], order[..., :1].expand(-1, -1, 3 - n))
    torch.testing.assert_close(weight.sum(-1), torch.ones(1, 5))


def test_a_query_on_a_point_takes_its_value(implementation):
    points, rows = cloud(2, 20), cloud(2, 20, seed=1)
    torch.testing.assert_close(interpolate(rows, *three_nearest(points, points)), rows)


def test_interpolation_between_two_equally_near_points_is_their_mean(implementation):
    points = torch.tensor([[[-1.0, 0, 0], [1, 0, 0], [1e4, 0, 0]]])
    rows = torch.tensor([[[2.0], [4.0], [9.0]]])
    value = interpolate(rows, *three_nearest(torch.zeros(1, 1, 3), points))
    assert value.item() == pytest.approx(3.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 5), (2, 0), (2,)])
def test_gather_rows_equals_plain_indexing(shape):
    rows = cloud(2, 9)
    index = torch.randint(9, shape, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([r[i] for r, i in zip(rows, index, strict=True)])
    assert torch.equal(gather_rows(rows, index), expected)


def test_gather_rows_has_the_gradient_of_indexing():
    rows = cloud(2, 6).double().requires_grad_()
    index = torch.tensor([[[0, 0], [5, 2]], [[1, 1], [1, 3]]])
    assert torch.autograd.gradcheck(lambda r: gather_rows(r, index), rows)


def test_interpolation_has_the_right_gradient():
    index, weight = three_nearest(cloud(2, 5, seed=1), cloud(2, 8))
    rows = cloud(2, 8, seed=2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r: interpolate(r, index, weight.double()), rows)


def test_no_centres_and_no_frames(implementation):
    assert ball_query(torch.zeros(2, 0, 3), cloud(2, 4), 1.0, 3).shape == (2, 0, 3)
    assert ball_query(torch.zeros(0, 2, 3), torch.zeros(0, 4, 3), 1.0, 3).shape == (0, 2, 3)
    index, weight = three_nearest(torch.zeros(0, 2, 3), torch.zeros(0, 4, 3))
    assert index.shape == weight.shape == (0, 2, 3)


@pytest.mark.cuda
def test_a_gpu_finds_the_same_neighbours():
    centres, points = cloud(2, 30, seed=1), cloud(2, 200)
    there = centres.cuda(), points.cuda()
    assert torch.equal(ball_query(*there, 0.5, 16).cpu(), ball_query(centres, points, 0.5, 16))
    found, expected = three_nearest(*there), three_nearest(centres, points)
    assert torch.equal(found[0].cpu(), expected[0])
    torch.testing.assert_close(found[1].cpu(), expected[1])

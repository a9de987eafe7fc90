"""PointNet++ and its input: shared MLPs, the pyramid, clouds of a fixed size."""

import pytest
import torch
from torch.nn import functional as F

from kdbench.detectors.layers import point_input
from kdbench.detectors.layers.point_input import fixed_clouds
from kdbench.detectors.layers.point_pyramid import build_pyramid
from kdbench.detectors.layers.pointnet2 import (
    BALLS,
    GroupLinear,
    PointNet2,
    SetAbstraction,
    SharedMlp,
)
from kdbench.detectors.layers.row_norm import RowNorm
from kdbench.ops.macs import MacCounter
from kdbench.ops.point_grouping import gather_rows

RANGE = (0.0, -50.0, -3.0, 100.0, 50.0, 1.0)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def settled(network, *inputs):
    """The network in evaluation mode, with running statistics of the inputs."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.momentum = None  # the mean of what is seen
    network(*inputs)
    return network.eval()


# Layers


def test_pooling_is_the_maximum_of_the_rows():
    mlp = settled(SharedMlp([5, 8, 6], 0.1), x := draw(3, 7, 4, 5))
    torch.testing.assert_close(mlp.pool(x), mlp(x).amax(2))


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_for_statistics_use_the_running_ones(rows):
    norm = RowNorm(3, 0.1)
    norm(5 + 2 * draw(50, 3))
    before = norm.running_mean.clone()
    found = norm(x := draw(rows, 3))
    assert torch.equal(norm.running_mean, before)
    torch.testing.assert_close(found, norm.eval()(x))


def test_set_abstraction_equals_a_loop_over_centres():
    rows, xyz, centres = draw(2, 9, 4), draw(2, 9, 3, seed=1), draw(2, 5, 3, seed=2)
    groups = [torch.randint(9, (2, 5, k)) for k in (3, 6)]
    layer = SetAbstraction(4, [[8, 6], [7]], 0.1)
    found = settled(layer, rows, xyz, centres, groups)(rows, xyz, centres, groups)
    for frame in range(2):
        for m in range(5):
            parts = []
            for mlp, group in zip(layer.scales, groups, strict=True):
                near = group[frame, m]
                offset = xyz[frame, near] - centres[frame, m]
                x = torch.cat([offset, rows[frame, near]], dim=1)
                first, *others = mlp.layers
                x = torch.nn.Sequential(*others)(F.linear(x, first.weight))
                parts.append(torch.relu(x.amax(0)))
            torch.testing.assert_close(found[frame, m], torch.cat(parts))


def test_a_group_linear_is_the_linear_layer_on_concatenated_groups():
    """Values, gradients and MACs."""
    rows, xyz, centres = draw(2, 9, 4), draw(2, 9, 3, seed=1), draw(2, 5, 3, seed=2)
    group = torch.randint(9, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    layer = GroupLinear(3 + 4, 8)
    offset = gather_rows(xyz, group) - centres.unsqueeze(2)

    def plain(rows):
        return F.linear(torch.cat([offset, gather_rows(rows, group)], -1), layer.weight, layer.bias)

    results = []
    for function in (lambda x: layer(x, xyz, centres, group), lambda x: plain(x).flatten(0, 2)):
        leaf = rows.clone().requires_grad_()
        with MacCounter() as counter:
            out = function(leaf)
        grads = torch.autograd.grad(out.square().sum(), [leaf, *layer.parameters()])
        results.append((out, *grads, torch.tensor([counter.macs, counter.declared])))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_backbone_does_not_see_where_the_cloud_is():
    xyz = (draw(2, 256, 3) * 32).round() / 16  # exact in floating point, also when shifted
    rows, shift = torch.rand(2, 256, 1), torch.tensor([8.0, -16.0, 4.0])
    here, there = (build_pyramid(x, [64, 16, 4, 1], BALLS) for x in (xyz, xyz + shift))
    network = settled(PointNet2(1, lambda w: w // 8, 0.1), here, rows)
    torch.testing.assert_close(network(there, rows), network(here, rows))


def test_the_backbone_sees_what_is_near():
    xyz, rows = draw(1, 256, 3), torch.rand(1, 256, 1)
    pyramid = build_pyramid(xyz, [64, 16, 4, 1], BALLS)
    network = settled(PointNet2(1, lambda w: w // 8, 0.1), pyramid, rows)
    moved = xyz.clone()
    moved[0, 1:] += draw(255, 3, seed=1)
    found = network(build_pyramid(moved, [64, 16, 4, 1], BALLS), rows)
    assert not torch.allclose(found, network(pyramid, rows), atol=1e-2)


def test_levels_of_the_pyramid_are_points_of_the_one_below():
    xyz = draw(2, 100, 3)
    pyramid = build_pyramid(xyz, [25, 6], [[(0.5, 4)], [(1.0, 8), (2.0, 3)]])
    assert [len(g) for g in pyramid.groups] == [1, 2]
    for below, level in zip(pyramid.xyz, pyramid.xyz[1:], strict=False):
        for frame in range(2):
            known = {tuple(p) for p in below[frame].tolist()}
            points = {tuple(p) for p in level[frame].tolist()}
            assert points <= known and len(points) == level.shape[1]
    assert [x.shape for x in pyramid.groups[1]] == [(2, 6, 8), (2, 6, 3)]
    assert [index.shape for index, _ in pyramid.above] == [(2, 100, 3), (2, 25, 3)]


# Input


def cloud(n, frame=0, seed=0):
    low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
    share = torch.rand(n, 4, generator=torch.Generator().manual_seed(seed))
    xyz = low + share[:, :3] * (high - low)
    return torch.cat([torch.full((n, 1), float(frame)), xyz, share[:, 3:]], dim=1)


def as_set(points):
    return {tuple(p) for p in points.tolist()}


def test_a_large_cloud_keeps_its_far_points():
    points = cloud(1000)
    near = points[:, 1:3].norm(dim=1) <= point_input.FAR
    far = int((~near).sum())
    sampled, filled, _ = fixed_clouds(points, 1, RANGE, far + 50)
    assert near.sum() > 100 and filled.tolist() == [True]
    assert len(as_set(sampled[0])) == far + 50
    assert as_set(points[~near][:, 1:]) <= as_set(sampled[0]) <= as_set(points[:, 1:])


def test_with_too_many_far_points_all_are_sampled():
    sampled, _, _ = fixed_clouds(points := cloud(1000), 1, RANGE, 200)
    assert len(as_set(sampled[0])) == 200
    assert as_set(sampled[0]) <= as_set(points[:, 1:])
    assert (sampled[0][:, :2].norm(dim=1) <= point_input.FAR).any()


def test_an_even_sample_holds_as_many_points_of_a_surface_near_as_far():
    """Four times the points at half the distance: what a LiDAR sees of the same surface."""
    angle = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) - 0.5
    distance = torch.where(torch.arange(10_000) < 8000, 15.0, 30.0)
    zero = torch.zeros_like(angle)
    points = torch.stack([zero, distance * angle.cos(), distance * angle.sin(), zero, zero], dim=1)
    sampled, _, _ = fixed_clouds(points, 1, RANGE, 1000, even=True)
    near = int((sampled[0][:, :2].norm(dim=1) < 20).sum())
    # Half of 1,000, and a little more: the far ones are used up sooner. Four deviations wide.
    assert 460 < near < 620
    assert len(as_set(sampled[0])) == 1000


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("n", [1, 3, 64])
def test_a_small_cloud_repeats_all_of_its_points_alike(n, even):
    sampled, _, _ = fixed_clouds(points := cloud(n), 1, RANGE, 64, even)
    assert as_set(sampled[0]) == as_set(points[:, 1:])
    times = torch.unique(sampled[0], dim=0, return_counts=True)[1]
    assert times.max() - times.min() <= 1


def test_points_outside_the_range_and_broken_ones_are_dropped():
    points = cloud(3)
    points[1, 1], points[2, 3] = float("nan"), 1.0
    sampled, _, _ = fixed_clouds(points, 1, RANGE, 8)
    assert as_set(sampled[0]) == as_set(points[:1, 1:])


def test_a_frame_is_sampled_alike_whatever_is_beside_it():
    one, two = cloud(300), cloud(200, frame=1, seed=1)
    together, _, seeds = fixed_clouds(torch.cat([one, two]), 2, RANGE, 64)
    alone = two.clone()
    alone[:, 0] = 0
    mine, _, seed = fixed_clouds(alone, 1, RANGE, 64)
    assert torch.equal(together[1], mine[0])
    assert seeds[1:] == seed and seeds[0] != seeds[1]


def test_frames_without_points_say_so():
    sampled, filled, _ = fixed_clouds(cloud(5, frame=1), 3, RANGE, 8)
    assert filled.tolist() == [False, True, False]
    assert torch.equal(sampled[0], torch.tensor([[0.0, -50.0, -3.0, 0.0]]).expand(8, 4))

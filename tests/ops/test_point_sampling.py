"""Farthest point sampling against its definition, one step after the other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench.ops.point_sampling import farthest_points


def cloud(frames, n, seed=0):
    return torch.randn(frames, n, 3, generator=torch.Generator().manual_seed(seed))


def by_definition(xyz, count):
    """The first point, then always the first of those farthest from all taken before."""
    taken = [0]
    while len(taken) < count:
        distance = (xyz[:, None] - xyz[None, taken]).square().sum(-1).amin(1)
        taken.append(distance.tolist().index(distance.max()))
    return taken


@pytest.mark.parametrize("count", [1, 2, 17, 60])
def test_equals_the_definition(count):
    xyz = cloud(3, 60)
    assert farthest_points(xyz, count).tolist() == [by_definition(frame, count) for frame in xyz]


@given(points=arrays("float32", (7, 3), elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0])))
def test_of_equally_far_points_the_first_is_taken(points):
    xyz = torch.from_numpy(points)
    assert farthest_points(xyz[None], 7).tolist() == [by_definition(xyz, 7)]


def test_a_prefix_of_the_sample_is_the_smaller_sample():
    xyz = cloud(2, 300)
    assert torch.equal(farthest_points(xyz, 100)[:, :40], farthest_points(xyz, 40))


def test_more_than_there_are_repeats_points():
    index = farthest_points(cloud(1, 4), 9)[0]
    assert sorted(index[:4].tolist()) == [0, 1, 2, 3]
    assert ((index >= 0) & (index < 4)).all()


def test_no_frames_give_no_samples():
    assert farthest_points(torch.zeros(0, 5, 3), 3).shape == (0, 3)


def test_covers_two_clusters_of_very_different_density():
    dense, sparse = cloud(1, 500), cloud(1, 5, seed=1) + 100
    index = farthest_points(torch.cat([dense, sparse], dim=1), 2)[0]
    assert index[0] == 0 and index[1] >= 500


@pytest.mark.cuda
def test_a_gpu_takes_the_same_points():
    xyz = cloud(2, 400)
    assert torch.equal(farthest_points(xyz.cuda(), 100).cpu(), farthest_points(xyz, 100))

"""Nearest neighbours against a full sort of all distances."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.ops import neighbours
from kdbench.ops.neighbours import nearest


def features(n, channels=16, seed=0):
    return torch.randn(n, channels, generator=torch.Generator().manual_seed(seed))


def sorted_by_distance(queries, rows, k):
    distance = (queries[:, None].double() - rows[None].double()).square().sum(-1)
    return distance.argsort(dim=1)[:, :k]


@pytest.mark.parametrize("k", [1, 5, 40])
def test_equals_a_full_sort(k):
    queries, rows = features(23, seed=1), features(40)
    assert torch.equal(nearest(queries, rows, k), sorted_by_distance(queries, rows, k))


@pytest.mark.parametrize("queries", [6, 7, 8, 13, 14, 15])
def test_chunks_change_nothing(queries, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    x, rows = features(queries, seed=1), features(30)
    assert torch.equal(nearest(x, rows, 4), sorted_by_distance(x, rows, 4))


@pytest.mark.parametrize("n", [400, 401, 411, 1000])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_many_more_rows_than_neighbours(n, k):
    queries, rows = features(9, seed=1), features(n)
    assert torch.equal(nearest(queries, rows, k), sorted_by_distance(queries, rows, k))


@given(st.integers(1, 300), st.integers(1, 12), st.integers(0, 1000))
def test_among_equally_near_rows_any_will_do(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(3, (n, 2), generator=generator).float()  # many rows are the same
    queries = torch.randint(3, (5, 2), generator=generator).float()
    distance = (queries[:, None] - rows[None]).square().sum(-1)
    found = nearest(queries, rows, k)[:, :n]
    assert all(len(set(row)) == min(k, n) for row in found.tolist())
    torch.testing.assert_close(distance.gather(1, found), distance.sort(dim=1).values[:, :k])


@pytest.mark.cuda
def test_cuda_equals_cpu():
    queries, rows = features(300, seed=1), features(5000)
    found = nearest(queries.cuda(), rows.cuda(), 16).cpu()
    assert torch.equal(found, nearest(queries, rows, 16))


def test_a_row_is_its_own_first_neighbour():
    rows = features(200)
    assert nearest(rows, rows, 3)[:, 0].tolist() == list(range(200))


def test_with_fewer_rows_than_k_the_nearest_fills_the_rest():
    queries, rows = features(5, seed=1), features(3)
    found = nearest(queries, rows, 6)
    assert torch.equal(found[:, :3], sorted_by_distance(queries, rows, 3))
    assert torch.equal(found[:, 3:], found[:, :1].expand(-1, 3))


def test_no_queries_give_no_neighbours():
    assert nearest(features(0), features(9), 4).shape == (0, 4)
    assert nearest(features(0), features(2), 4).shape == (0, 4)

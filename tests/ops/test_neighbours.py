"""Nearest neighbours against a full sort of all distances."""

import pytest
import torch

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

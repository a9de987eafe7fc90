"""Edges made piece by piece against all edges at once."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from kdbench.ops import edges
from kdbench.ops.edges import (
    Graph,
    edge_errors,
    edge_moments,
    first_edges,
    largest_edges,
    neighbour_mean,
)
from kdbench.ops.graphs import GraphLayer

N, M, K, C = 12, 7, 4, 3


def made(n=N, m=M, k=K, channels=C, seed=0, dtype=torch.float64):
    """A graph, `values` and `own`, at random."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(n, (m,), generator=generator)
    graph = Graph(centre, torch.randint(n, (m, k), generator=generator), n)
    parts = (torch.randn(x, channels, generator=generator, dtype=dtype) for x in (n, m))
    return graph, *(part.requires_grad_() for part in parts)


def dense(values, own, graph):
    """All sums of neighbour and centre (m, k, c), before the ReLU."""
    return values[graph.neighbours] + own.unsqueeze(1)


def assert_same_with_gradients(found, expected, inputs):
    torch.testing.assert_close(found, expected)
    factors = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
    sums = [(x * factors).sum() for x in (found, expected)]
    torch.testing.assert_close(*(torch.autograd.grad(x, inputs, retain_graph=True) for x in sums))


sizes = st.integers(1, 9)


@settings(max_examples=40)
@given(sizes, sizes, sizes, st.integers(0, 100))
def test_moments_are_those_of_all_edges(n, m, k, seed):
    graph, values, own = made(n, m, k, seed=seed)
    mean, variance = edge_moments(values, own, graph)
    flat = dense(values, own, graph).flatten(0, 1)
    assert_same_with_gradients(mean, flat.mean(0), (values, own))
    if variance.gt(1e-9).all():  # at 0 it has no slope
        assert_same_with_gradients(variance, flat.var(0, correction=0), (values, own))


def test_moments_keep_their_digits_when_centre_and_neighbour_cancel():
    graph, values, _ = made(500, 200, 8, dtype=torch.float32)
    values = 5 * values.detach() + 100
    own = -values[graph.neighbours[:, 0]] + 0.01 * torch.randn(200, C)
    flat = dense(values.double(), own.double(), graph).flatten(0, 1)
    mean, variance = edge_moments(values, own, graph)
    torch.testing.assert_close(mean.double(), flat.mean(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(variance.double(), flat.var(0, correction=0), rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(sizes, sizes, sizes, st.integers(0, 100))
def test_largest_edges_are_the_maximum_of_all(n, m, k, seed):
    graph, values, own = made(n, m, k, seed=seed)
    every = dense(values, own, graph).relu()
    assert_same_with_gradients(largest_edges(values, own, graph), every.amax(1), (values, own))
    assert torch.equal(first_edges(values, own, graph), every[:, 0])


@settings(max_examples=40)
@given(sizes, sizes, sizes, st.integers(0, 100))
def test_edge_errors_are_those_of_all_edges(n, m, k, seed):
    graph, *first = made(n, m, k, seed=seed)
    second = made(n, m, k, seed=seed + 1)[1:]
    found = edge_errors(first, second, graph.neighbours)
    difference = dense(*first, graph).relu() - dense(*second, graph).relu()
    assert_same_with_gradients(found, difference.square().mean((1, 2)), (*first, *second))


@pytest.mark.parametrize("chunk", [1, 3, M])
def test_chunks_change_nothing(chunk, monkeypatch):
    graph, *first = made()
    second = made(seed=1)[1:]

    def results():
        return edge_errors(first, second, graph.neighbours), largest_edges(*first, graph)

    expected = results()
    monkeypatch.setattr(edges, "CHUNK", chunk)
    torch.testing.assert_close(results(), expected)


def test_gradients_equal_finite_differences():
    graph, values, own = made()
    _, u, v = made(seed=1)
    assert gradcheck(lambda x: neighbour_mean(x, graph), values)
    assert gradcheck(lambda *x: edge_errors(x[:2], x[2:], graph.neighbours), (values, own, u, v))


def test_no_centres_have_no_errors():
    graph, values, own = made(m=0)
    found = edge_errors((values, own), (values, own), graph.neighbours)
    assert found.shape == (0,)
    assert torch.autograd.grad(found.sum(), values)[0].eq(0).all()


def by_batch_norm(layer, norm, rows, centre, near):
    """The edges as linear layers and PyTorch's own batch norm make them."""
    linear = layer.neighbour(rows)[near] + layer.centre(rows[centre]).unsqueeze(1)
    return norm(linear.flatten(0, 1)).relu().view_as(linear)


@pytest.mark.parametrize("learned_scale", [True, False])
def test_a_layer_is_batch_norm_in_training_and_evaluation(learned_scale):
    torch.manual_seed(0)
    layer = GraphLayer(5, C, learned_scale).double()
    if learned_scale:  # also with a scale below 0
        layer.norm.weight.data.copy_(torch.tensor([1.5, -2, 0.1]))
        layer.norm.bias.data.copy_(torch.tensor([0.3, -0.2, 0]))
    norm = copy.deepcopy(layer.norm)
    for step in range(4):
        rows, graph = torch.randn(N, 5, dtype=torch.float64), made(seed=step)[0]
        if step == 3:
            layer.eval(), norm.eval()
        expected = by_batch_norm(layer, norm, rows, graph.centre, graph.neighbours)
        pooled = largest_edges(*layer.parts(rows, graph), graph)
        torch.testing.assert_close(pooled, expected.amax(1))
        torch.testing.assert_close(layer.norm.state_dict(), norm.state_dict())
    found = layer(rows, graph.centre, graph.neighbours)
    torch.testing.assert_close(found, expected)


def test_the_weights_of_a_layer_keep_their_names():
    names = {"neighbour.weight", "neighbour.bias", "centre.weight"}
    names |= {f"norm.{x}" for x in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(GraphLayer(5, 4, False).state_dict()) == names
    assert set(GraphLayer(5, 4, True).state_dict()) == names | {"norm.weight", "norm.bias"}


def losses_and_gradients(device="cpu"):
    graph, *first = made(1000, 200, 16, 32, dtype=torch.float32)
    second = made(1000, 200, 16, 32, seed=1, dtype=torch.float32)[1:]
    graph = Graph(graph.centre.to(device), graph.neighbours.to(device), graph.rows)
    inputs = [x.detach().to(device).requires_grad_() for x in (*first, *second)]
    error = edge_errors(inputs[:2], inputs[2:], graph.neighbours).sum()
    pooled = largest_edges(*inputs[:2], graph).square().sum()
    moments = torch.cat(edge_moments(*inputs[2:], graph)).square().sum()
    total = error + pooled + moments
    return [x.cpu() for x in (total.detach(), *torch.autograd.grad(total, inputs))]


def test_two_threads_give_the_same_bits_twice():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = losses_and_gradients(), losses_and_gradients()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.cuda
def test_cuda_equals_cpu():
    found, expected = losses_and_gradients("cuda"), losses_and_gradients()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

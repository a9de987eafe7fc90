"""Adapters between the widths of student and teacher."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kdbench.errors import NotApplicable, UsageError
from kdbench.ops.adapters import FORMS, Adapter, features, set_identity
from kdbench.taps import Kind, Rows, TapSpec

SHAPES = {Kind.ROWS: (7, 4), Kind.BEV: (2, 4, 3, 5)}  # four channels each


def adapter(kind, student, teacher, form="linear"):
    torch.manual_seed(0)
    return Adapter(TapSpec(kind, student), TapSpec(kind, teacher), form)


def test_rows_go_through_a_matrix_and_a_bias():
    linear = adapter(Kind.ROWS, 3, 5)
    x = torch.randn(7, 3)
    expected = x @ linear.map.weight.T + linear.map.bias
    assert linear(x).shape == (7, 5)
    torch.testing.assert_close(linear(x), expected)


def test_every_cell_of_a_map_goes_through_the_same_matrix():
    linear = adapter(Kind.BEV, 3, 5)
    x = torch.randn(2, 3, 4, 6)
    weight, bias = linear.map.weight[:, :, 0, 0], linear.map.bias
    expected = torch.einsum("bchw,oc->bohw", x, weight) + bias.view(1, -1, 1, 1)
    torch.testing.assert_close(linear(x), expected)


@pytest.mark.parametrize("kind", SHAPES)
def test_an_ensemble_is_the_mean_of_three_maps_with_a_relu(kind):
    ensemble = adapter(kind, 4, 6, "ensemble")
    x = torch.randn(SHAPES[kind])
    total = 0.0
    for member in ensemble.map:
        weight = member.weight.flatten(1)
        y = torch.einsum("bc...,oc->bo...", x, weight).movedim(1, -1) + member.bias
        total = total + y.clamp(min=0)
    assert len(ensemble.map) == 3
    torch.testing.assert_close(ensemble(x).movedim(1, -1), total / 3)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("teacher", [2, 4, 9])
def test_a_projection_stays_orthogonal_while_it_trains(kind, teacher):
    orthogonal = adapter(kind, 4, teacher, "orthogonal")
    optimizer = torch.optim.AdamW(orthogonal.parameters(), lr=0.05, weight_decay=0.1)
    x, before = torch.randn(SHAPES[kind]), matrix(orthogonal)
    goal = torch.randn(orthogonal(x).shape)
    for _ in range(20):
        optimizer.zero_grad()
        F.mse_loss(orthogonal(x), goal).backward()
        optimizer.step()
    after = matrix(orthogonal)
    narrow = after.T if teacher < 4 else after
    torch.testing.assert_close(narrow.T @ narrow, torch.eye(min(4, teacher)), atol=1e-5, rtol=0)
    assert (after - before).abs().max() > 0.1
    expected = torch.einsum("bc...,oc->bo...", x, after)
    torch.testing.assert_close(orthogonal(x), expected)


def matrix(orthogonal):
    return orthogonal.map.layer.weight.detach().clone()


@pytest.mark.parametrize("form", FORMS)
def test_a_seed_gives_one_adapter_and_its_state_gives_it_back(form):
    first, second = (adapter(Kind.BEV, 4, 6, form) for _ in range(2))
    x = torch.randn(SHAPES[Kind.BEV])
    assert torch.equal(first(x), second(x))
    for parameter in first.parameters():
        parameter.data += 0.1
    later = copy.deepcopy(first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x)) and torch.equal(first(x), later(x))


def test_the_teacher_of_a_projection_is_layer_normalised_and_of_others_as_it_is():
    for kind, shape in SHAPES.items():
        y = torch.randn(shape) * 3 + 1
        assert adapter(kind, 2, 4).target(y) is y
        assert adapter(kind, 2, 4, "ensemble").target(y) is y
        found = adapter(kind, 2, 4, "orthogonal").target(y)
        centred = y - y.mean(1, keepdim=True)
        expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SHAPES)
def test_set_identity_returns_what_comes_in_after_a_relu(kind, form):
    same = adapter(kind, 4, 4, form)
    set_identity(same)
    x = torch.randn(SHAPES[kind]).relu()
    torch.testing.assert_close(same(x), x)
    assert same.target(x) is x
    assert form != "linear" or torch.equal(same(-x), -x)


def test_what_cannot_be_is_said():
    with pytest.raises(UsageError, match="one of linear, ensemble, orthogonal, not 'mlp'"):
        adapter(Kind.BEV, 3, 5, "mlp")
    before = TapSpec(Kind.BEV, 5, affine=(torch.ones(5), torch.zeros(5)))
    with pytest.raises(NotApplicable, match="after a ReLU"):
        Adapter(TapSpec(Kind.BEV, 3), before, "ensemble")


def test_features_of_rows_are_their_features_and_of_a_map_itself():
    x = torch.randn(2, 3)
    rows = Rows(x, torch.zeros(2, 3, dtype=torch.long), torch.ones(2, dtype=torch.long))
    assert features(rows) is x
    assert features(x) is x

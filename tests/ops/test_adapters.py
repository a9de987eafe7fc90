"""Adapters between the widths of student and teacher."""

import pytest
import torch

from kdbench.ops.adapters import Adapter, features, set_identity
from kdbench.taps import Kind, Rows, TapSpec


def test_rows_go_through_a_matrix_and_a_bias():
    adapter = Adapter(TapSpec(Kind.ROWS, 3), TapSpec(Kind.ROWS, 5))
    x = torch.randn(7, 3)
    expected = x @ adapter.map.weight.T + adapter.map.bias
    assert adapter(x).shape == (7, 5)
    torch.testing.assert_close(adapter(x), expected)


def test_every_cell_of_a_map_goes_through_the_same_matrix():
    adapter = Adapter(TapSpec(Kind.BEV, 3), TapSpec(Kind.BEV, 5))
    x = torch.randn(2, 3, 4, 6)
    weight, bias = adapter.map.weight[:, :, 0, 0], adapter.map.bias
    expected = torch.einsum("bchw,oc->bohw", x, weight) + bias.view(1, -1, 1, 1)
    torch.testing.assert_close(adapter(x), expected)


@pytest.mark.parametrize("kind, shape", [(Kind.ROWS, (7, 4)), (Kind.BEV, (2, 4, 3, 5))])
def test_set_identity_returns_what_comes_in(kind, shape):
    adapter = Adapter(TapSpec(kind, 4), TapSpec(kind, 4))
    set_identity(adapter)
    x = torch.randn(shape)
    assert torch.equal(adapter(x), x)


def test_features_of_rows_are_their_features_and_of_a_map_itself():
    x = torch.randn(2, 3)
    rows = Rows(x, torch.zeros(2, 3, dtype=torch.long), torch.ones(2, dtype=torch.long))
    assert features(rows) is x
    assert features(x) is x

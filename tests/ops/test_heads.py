import math

import pytest
import torch
from torch.autograd import gradcheck

from kdbench.ops.heads import binary_kl, code_difference


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_binary_kl_equals_the_definition(temperature):
    for s, t in [(0.3, -1.2), (-4.0, 2.0), (1.0, 1.0)]:
        p, q = (1 / (1 + math.exp(-z / temperature)) for z in (t, s))
        expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        z_s, z_t = (torch.tensor([[z]], dtype=torch.float64) for z in (s, t))
        found = binary_kl(z_s, z_t, temperature)
        assert found.shape == (1, 1)
        assert found.item() == pytest.approx(temperature**2 * expected, abs=1e-12)


def test_binary_kl_has_the_gradient_of_finite_differences():
    z_s = torch.tensor([0.3, -2.0], dtype=torch.float64, requires_grad=True)
    z_t = torch.tensor([1.3, -1.0], dtype=torch.float64)
    assert gradcheck(lambda z: binary_kl(z, z_t, 2.0), z_s)


def test_extreme_logits_stay_finite():
    z = torch.tensor([-200.0, 200.0])
    assert binary_kl(z, -z).isfinite().all()


def test_codes_differ_by_their_entries_and_the_sine_of_the_heading():
    a, b = torch.zeros(1, 7), torch.tensor([[1.0, -2, 3, 0.5, 0, 1, -0.3]])
    expected = [[-1.0, 2, -3, -0.5, 0, -1, math.sin(0.3)]]
    torch.testing.assert_close(code_difference(a, b), torch.tensor(expected))


def test_half_a_turn_is_no_difference():
    a = torch.full((2, 3, 7), 0.4, dtype=torch.float64)
    b = a.clone()
    b[..., 6] += math.pi
    assert code_difference(a, b).abs().max() < 1e-12


def test_codes_with_sine_and_cosine_differ_by_their_entries():
    a, b = torch.arange(8.0), torch.linspace(3, -1, 8)
    assert torch.equal(code_difference(a, b), a - b)

"""The undecimated Haar transform: loops, its inverse, and what it is blind to."""

import pytest
import torch

from kdbench.ops.wavelets import haar, inverse_haar


def maps(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_equals_a_loop_over_cells(levels):
    low = x = maps(1, 1, 5, 6)
    found_low, details = haar(x, levels)
    for level in range(levels):
        step, nxt = 2**level, torch.zeros_like(low)

        def at(i, j, low=low):
            return low[0, 0, i, j].item() if i < 5 and j < 6 else 0.0

        for i in range(5):
            for j in range(6):
                a, b = at(i, j), at(i, j + step)
                c, d = at(i + step, j), at(i + step, j + step)
                nxt[0, 0, i, j] = (a + b + c + d) / 2
                expected = (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2
                assert details[:, level, 0, 0, i, j].tolist() == pytest.approx(expected)
        low = nxt
    torch.testing.assert_close(found_low, low)


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 2, 5, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("levels", [1, 3, 5])
def test_the_inverse_gives_the_map_back(shape, levels):
    x = maps(*shape)
    torch.testing.assert_close(inverse_haar(*haar(x, levels)), x)


def test_a_constant_has_no_details_away_from_the_border():
    _, details = haar(torch.ones(1, 1, 20, 20), 3)
    assert details[..., :12, :12].abs().max() == 0

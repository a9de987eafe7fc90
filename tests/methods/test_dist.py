"""Correlation of scores against NumPy's."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.dist import StrongerTeacher, uncorrelated


def dist(z_s, z_t, **options):
    return StrongerTeacher({}, {}, **options)({"head.cls": z_s}, {"head.cls": z_t}, None)


def scores(z, temperature):
    z = np.insert(z.numpy().reshape(-1, 3), 0, 0, axis=1) / temperature
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


@pytest.mark.parametrize("n, temperature", [(20, 1.0), (20, 4.0), (10_000, 1.0)])
def test_equals_numpys_correlation(student, teacher, n, temperature):
    z_s, z_t = student["head.cls"], teacher["head.cls"]
    p_s, p_t = scores(z_s, temperature), scores(z_t, temperature)
    found = dist(z_s, z_t, n=n, temperature=temperature, inter=2.0, intra=3.0)
    intra = [1 - np.corrcoef(p_s[:, c], p_t[:, c])[0, 1] for c in range(4)]
    assert found["intra"].item() == pytest.approx(3 * np.mean(intra))
    background = scores(z_t, 1.0)[:, 0].reshape(2, -1)
    likely = np.concatenate(
        [f * background.shape[1] + np.argsort(background[f])[:n] for f in (0, 1)]
    )
    inter = [1 - np.corrcoef(p_s[i], p_t[i])[0, 1] for i in likely]
    assert found["inter"].item() == pytest.approx(2 * np.mean(inter))


def test_equal_scores_cost_nothing(student):
    assert sum(dist(student["head.cls"], student["head.cls"]).values()) == 0


def test_scale_and_shift_of_scores_change_nothing(student, teacher):
    x, y = (taps["head.cls"].flatten(0, -2) for taps in (student, teacher))
    torch.testing.assert_close(uncorrelated(3 * x + 2, y), uncorrelated(x, y))
    assert uncorrelated(x, 3 * x + 2).item() == pytest.approx(0, abs=1e-12)
    assert uncorrelated(x, -x).item() == pytest.approx(2)


def test_gradient_equals_finite_differences(student, teacher):
    z_s, z_t = student["head.cls"][:, :1, :2].clone(), teacher["head.cls"][:, :1, :2]
    assert gradcheck(lambda z: tuple(dist(z, z_t, n=7).values()), z_s.requires_grad_())


def test_constant_scores_stay_finite(teacher):
    z_s = torch.zeros(2, 8, 12, 6, 3, dtype=torch.float64, requires_grad=True)
    loss = sum(dist(z_s, teacher["head.cls"]).values())
    loss.backward()
    assert loss.isfinite() and z_s.grad.isfinite().all()

"""Logit distillation against a loop over anchors."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.kd import LogitDistillation


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def kl(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def loop(z_s, z_t, variant, temperature):
    total, foreground = 0.0, 0.0
    for s, t in zip(z_s.view(-1, 3).tolist(), z_t.view(-1, 3).tolist(), strict=True):
        foreground += max(map(sigmoid, t))
        for a, b in zip(s, t, strict=True):
            if variant == "mse":
                total += (sigmoid(a) - sigmoid(b)) ** 2
            else:
                total += temperature**2 * kl(sigmoid(b / temperature), sigmoid(a / temperature))
    return total / max(1, foreground)


def kd(z_s, z_t, **options):
    return LogitDistillation({}, {}, **options)({"head.cls": z_s}, {"head.cls": z_t}, None)["kd"]


@pytest.mark.parametrize("variant, temperature", [("bce", 1.0), ("bce", 3.0), ("mse", 1.0)])
def test_equals_a_loop(student, teacher, variant, temperature):
    z_s, z_t = student["head.cls"], teacher["head.cls"]
    found = kd(z_s, z_t, variant=variant, temperature=temperature)
    assert found.item() == pytest.approx(loop(z_s, z_t, variant, temperature))


@pytest.mark.parametrize("variant", LogitDistillation.variants)
def test_equal_scores_cost_nothing(student, variant):
    z = student["head.cls"]
    assert kd(z, z, variant=variant) == 0


@pytest.mark.parametrize("variant", LogitDistillation.variants)
def test_a_teacher_that_sees_nothing_does_not_blow_up_the_loss(variant):
    z_s, z_t = torch.full((1, 2, 2, 2, 3), 0.5), torch.full((1, 2, 2, 2, 3), -20.0)
    found = kd(z_s, z_t, variant=variant)  # expected foreground far below 1: divided by 1
    each = sigmoid(0.5) ** 2 if variant == "mse" else -math.log(1 - sigmoid(0.5))
    assert found.item() == pytest.approx(24 * each, rel=1e-4)


@pytest.mark.parametrize("variant, temperature", [("bce", 1.0), ("bce", 3.0), ("mse", 1.0)])
def test_gradient_equals_finite_differences(student, teacher, variant, temperature):
    z_s, z_t = student["head.cls"][:, :1, :2].clone(), teacher["head.cls"][:, :1, :2]
    options = {"variant": variant, "temperature": temperature}
    assert gradcheck(lambda z: kd(z, z_t, **options), z_s.requires_grad_())


def test_extreme_logits_stay_finite():
    z_s = torch.tensor([[-90.0, 0, 90]], requires_grad=True)
    loss = kd(z_s, -z_s.detach())
    loss.backward()
    assert loss.isfinite() and z_s.grad.isfinite().all()


def test_weight_scales_the_loss(student, teacher):
    z_s, z_t = student["head.cls"], teacher["head.cls"]
    torch.testing.assert_close(kd(z_s, z_t, weight=3.0), 3 * kd(z_s, z_t))

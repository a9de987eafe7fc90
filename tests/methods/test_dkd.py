"""Decoupled distillation against a loop over anchors."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.dkd import DecoupledDistillation, decouple


def dkd(z_s, z_t, **options):
    method = DecoupledDistillation({}, {}, **options)
    return method({"head.cls": z_s}, {"head.cls": z_t}, None)


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def loop(z_s, z_t, n, temperature):
    """TCKD and NCKD: means over the n anchors of each frame with the most class probability."""
    target, others = [], []
    for frame_s, frame_t in zip(z_s.numpy(), z_t.numpy(), strict=True):
        pairs = list(zip(frame_s.reshape(-1, 3), frame_t.reshape(-1, 3), strict=True))
        pairs.sort(key=lambda pair: softmax(np.append(0, pair[1]))[0])
        for s, t in pairs[:n]:
            c = 1 + int(np.argmax(t))
            p_s, p_t = (softmax(np.append(0, z) / temperature) for z in (s, t))
            target.append(kl([p_t[c], 1 - p_t[c]], [p_s[c], 1 - p_s[c]]))
            rest_s, rest_t = np.delete(p_s, c), np.delete(p_t, c)
            others.append(kl(rest_t / rest_t.sum(), rest_s / rest_s.sum()))
    return temperature**2 * np.mean(target), temperature**2 * np.mean(others)


@pytest.mark.parametrize("n, temperature", [(20, 1.0), (20, 4.0), (10_000, 1.0)])
def test_equals_a_loop(student, teacher, n, temperature):
    z_s, z_t = student["head.cls"], teacher["head.cls"]
    found = dkd(z_s, z_t, n=n, temperature=temperature, alpha=2.0, beta=8.0, weight=3.0)
    target, others = loop(z_s, z_t, n, temperature)
    assert found["target"].item() == pytest.approx(3 * 2 * target)
    assert found["others"].item() == pytest.approx(3 * 8 * others)


def test_decoupled_parts_make_up_the_whole_divergence(student, teacher):
    """KL(p_T || p_S) = KL(b_T || b_S) + (1 - p_T,c) KL(q_T || q_S), the paper's equation."""
    z_s, z_t = (taps["head.cls"].flatten(0, -2)[:50] for taps in (student, teacher))
    target = z_t.argmax(1)
    (b_s, q_s), (b_t, q_t) = decouple(z_s, target), decouple(z_t, target)

    def divergence(log_t, log_s):
        return (log_t.exp() * (log_t - log_s)).sum(1)

    whole = divergence(z_t.log_softmax(1), z_s.log_softmax(1))
    parts = divergence(b_t, b_s) + b_t[:, 1].exp() * divergence(q_t, q_s)
    torch.testing.assert_close(parts, whole)


def test_equal_scores_cost_nothing(student):
    assert sum(dkd(student["head.cls"], student["head.cls"]).values()) == 0


def test_each_part_leaves_the_other_alone(student):
    z_t = student["head.cls"]
    top = torch.nn.functional.one_hot(z_t.argmax(-1), 3).bool()
    only_target = dkd(torch.where(top, z_t + 1, z_t), z_t)
    assert only_target["target"] > 0
    assert only_target["others"].item() == pytest.approx(0, abs=1e-12)


def test_gradient_equals_finite_differences(student, teacher):
    z_s, z_t = student["head.cls"][:, :1, :2].clone(), teacher["head.cls"][:, :1, :2]
    assert gradcheck(lambda z: tuple(dkd(z, z_t, n=7).values()), z_s.requires_grad_())


def test_extreme_logits_stay_finite():
    z_s = torch.tensor([[-90.0, 0, 90]]).view(1, 1, 1, 1, 3).requires_grad_()
    loss = sum(dkd(z_s, -z_s.detach()).values())
    loss.backward()
    assert loss.isfinite() and z_s.grad.isfinite().all()


def test_one_class_leaves_only_the_background_as_the_others(generator):
    z_s, z_t = torch.randn(2, 1, 2, 2, 2, 1, generator=generator, dtype=torch.float64)
    found = dkd(z_s, z_t)
    assert found["target"] > 0 and found["others"] == 0

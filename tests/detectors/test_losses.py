"""The losses of anchor heads against numpy loops."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.detectors.layers.losses import box_code_loss, sigmoid_focal, smooth_l1


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def focal_loop(logits, targets, alpha, gamma):
    losses = np.zeros(logits.shape)
    for i in np.ndindex(*logits.shape):
        p = 1 / (1 + math.exp(-logits[i]))
        p_t, alpha_t = (p, alpha) if targets[i] == 1 else (1 - p, 1 - alpha)
        losses[i] = -alpha_t * (1 - p_t) ** gamma * math.log(p_t)
    return torch.from_numpy(losses)


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2.0), (0.6, 1.5)])
def test_focal_equals_a_loop(alpha, gamma):
    logits = 3 * random(7, 3)
    targets = (random(7, 3, seed=1) > 0.5).double()
    expected = focal_loop(logits, targets, alpha, gamma)
    torch.testing.assert_close(sigmoid_focal(logits, targets, alpha, gamma), expected)


def test_focal_uses_the_published_alpha_and_gamma():
    zero = torch.zeros(2)
    expected = torch.tensor([0.25, 0.75]) * 0.25 * math.log(2)
    torch.testing.assert_close(sigmoid_focal(zero, torch.tensor([1.0, 0.0])), expected)


def test_focal_of_extreme_logits_is_finite():
    logits = torch.tensor([-200.0, 200, -200, 200], requires_grad=True)
    loss = sigmoid_focal(logits, torch.tensor([1.0, 1, 0, 0]))
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.tensor([50.0, 0, 0, 150]))
    assert logits.grad.isfinite().all()


def test_focal_gradient_equals_finite_differences():
    targets = (random(5, 3, seed=1) > 0).double()
    assert gradcheck(lambda x: sigmoid_focal(x, targets), random(5, 3).requires_grad_())


def test_smooth_l1_is_quadratic_near_zero_and_linear_beyond_a_ninth():
    error = torch.tensor([0.0, 0.05, -0.05, 1 / 9, 0.5, -2.0])
    expected = [0.5 * e * e * 9 if abs(e) < 1 / 9 else abs(e) - 0.5 / 9 for e in error.tolist()]
    torch.testing.assert_close(smooth_l1(error, torch.zeros(6)), torch.tensor(expected))


def test_box_loss_is_smooth_l1_of_offsets_and_of_the_sine_of_the_angle():
    prediction, target = random(6, 7), random(6, 7, seed=1)
    error = prediction - target
    error[:, 6] = error[:, 6].sin()
    expected = smooth_l1(error, torch.zeros_like(error))
    torch.testing.assert_close(box_code_loss(prediction, target), expected)


@pytest.mark.parametrize("turn", [math.pi, -math.pi, 2 * math.pi])
def test_half_turns_do_not_change_the_box_loss(turn):
    prediction, target = random(6, 7), random(6, 7, seed=1)
    turned = target.clone()
    turned[:, 6] += turn
    torch.testing.assert_close(box_code_loss(prediction, turned), box_code_loss(prediction, target))


def test_box_loss_gradient_equals_finite_differences():
    target = random(6, 7, seed=1)
    assert gradcheck(lambda x: box_code_loss(x, target), random(6, 7).requires_grad_())


def test_no_boxes_no_loss():
    assert box_code_loss(torch.zeros(0, 7), torch.zeros(0, 7)).sum() == 0

"""Attention-guided and non-local distillation against loops."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.fbkd import FeatureBased, non_local

EVERYWHERE = 1000  # positions: more than the maps have


def fbkd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    ones = dict.fromkeys(("mask", "channel", "spatial", "relation"), 1.0)
    return FeatureBased(student_specs, teacher_specs, **ones | options).double()


def softmax(x):
    exponential = np.exp(x - x.max())
    return exponential / exponential.sum()


def relation_loop(x):
    """(H * W, C) of a frame (C, H, W)."""
    nodes = x.reshape(len(x), -1).T
    chances = [softmax(nodes @ a / np.sqrt(len(x))) for a in nodes]
    return np.array([sum(c * b for c, b in zip(chance, nodes, strict=True)) for chance in chances])


def terms_of_frame(s, t, temperature):
    """From maps (C, H, W), the student's adapted."""
    channels, height, width = s.shape
    spatial_s, spatial_t = (
        np.array([[np.mean(abs(x[:, i, j])) for j in range(width)] for i in range(height)])
        for x in (s, t)
    )
    channel_s, channel_t = (np.array([np.mean(abs(c)) for c in x]) for x in (s, t))
    mask_p = height * width * softmax((spatial_s + spatial_t) / temperature)
    mask_c = channels * softmax((channel_s + channel_t) / temperature)
    masked = sum(
        mask_c[c] * mask_p[i, j] * (s[c, i, j] - t[c, i, j]) ** 2 for c, i, j in np.ndindex(s.shape)
    )
    return {
        "mask": np.sqrt(masked),
        "channel": np.linalg.norm(channel_s - channel_t),
        "spatial": np.sqrt(((spatial_s - spatial_t) ** 2).sum()),
        "relation": np.sqrt(((relation_loop(s) - relation_loop(t)) ** 2).sum()),
    }


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_equals_loops(student, teacher, student_specs, teacher_specs, temperature):
    method = fbkd(student_specs, teacher_specs, temperature=temperature, n=EVERYWHERE)
    adapted = method.adapter(student["neck"]).detach().numpy()
    frames = [
        terms_of_frame(s, t, temperature)
        for s, t in zip(adapted, teacher["neck"].numpy(), strict=True)
    ]
    found = {name: x.item() for name, x in method(student, teacher, None).items()}
    assert found == pytest.approx({name: np.mean([f[name] for f in frames]) for name in frames[0]})


@pytest.mark.parametrize("name", ["mask", "channel", "spatial", "relation"])
def test_each_term_has_its_weight(student, teacher, student_specs, teacher_specs, name):
    def terms(**weights):
        method = fbkd(student_specs, teacher_specs, n=EVERYWHERE, **weights)
        return {name: x.item() for name, x in method(student, teacher, None).items()}

    expected = terms()
    expected[name] *= 3
    assert terms(**{name: 3.0}) == pytest.approx(expected)


def test_equal_maps_cost_nothing_once_adapters_are_shared(student, student_specs):
    method = fbkd(student_specs, student_specs, n=5)
    assert sum(method(student, student, None).values()) > 0
    method.share_adapters()
    student["neck"].requires_grad_()
    loss = sum(method(student, {"neck": student["neck"].detach()}, None).values())
    loss.backward()
    assert loss == 0 and student["neck"].grad.isfinite().all()


def test_masks_have_mean_1_and_no_gradient(student, student_specs, teacher_specs):
    attention = student["neck"].abs().mean(1).requires_grad_()
    mask = fbkd(student_specs, teacher_specs)._mask(attention)
    assert not mask.requires_grad
    torch.testing.assert_close(mask.mean((1, 2)), torch.ones(2, dtype=torch.float64))


def test_relations_do_not_depend_on_where_things_are(student):
    nodes = list(student["neck"].flatten(2).transpose(1, 2))
    order = torch.randperm(96)
    torch.testing.assert_close(non_local([x[order] for x in nodes]), non_local(nodes)[:, order])


def test_gradient_equals_finite_differences(generator):
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: non_local([x, 2 * x]), x)


def test_student_and_adapter_get_gradients(student, teacher, student_specs, teacher_specs):
    for name in ("mask", "channel", "spatial", "relation"):
        method = fbkd(student_specs, teacher_specs)
        neck = student["neck"].clone().requires_grad_()
        method({"neck": neck}, teacher, None)[name].backward()
        assert neck.grad.any() and method.adapter.map.weight.grad.any(), name

"""Knowledge review against the formulas in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.reviewkd import ReviewKD, context_loss


def review(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return ReviewKD(student_specs, teacher_specs, **options).double()


def pooled(x, size):
    """Adaptive average pooling of maps (B, C, H, W) to size x size: bins overlap if they must."""
    height, width = x.shape[2:]

    def span(i, cells):
        return slice(i * cells // size, math.ceil((i + 1) * cells / size))

    rows = [
        [x[:, :, span(i, height), span(j, width)].mean((2, 3)) for j in range(size)]
        for i in range(size)
    ]
    return np.moveaxis(np.array(rows), (0, 1), (2, 3))


def context_loop(x, y):
    terms = [(1.0, np.mean((x - y) ** 2))]
    for weight, size in ((0.5, 4), (0.25, 2), (0.125, 1)):
        terms.append((weight, np.mean((pooled(x, size) - pooled(y, size)) ** 2)))
    return sum(w * t for w, t in terms) / sum(w for w, _ in terms)


def test_context_loss_equals_a_loop(generator):
    x, y = torch.randn(2, 2, 3, 9, 13, generator=generator, dtype=torch.float64)
    assert context_loss(x, y).item() == pytest.approx(context_loop(x.numpy(), y.numpy()))


def test_a_map_of_one_cell_has_no_contexts(generator):
    x, y = torch.randn(2, 2, 3, 1, 4, generator=generator)
    torch.testing.assert_close(context_loss(x, y), (x - y).square().mean())


def test_context_loss_has_the_gradient_of_finite_differences(generator):
    x, y = torch.randn(2, 1, 2, 5, 6, generator=generator, dtype=torch.float64)
    assert gradcheck(lambda x: context_loss(x, y), x.requires_grad_())


def convolved(block, x):
    """Convolution and batch norm, by running statistics that are still 0 and 1."""
    kernels = block[0].weight.detach().numpy()
    result = [
        [
            sum(correlate2d(c, k, mode="same") for c, k in zip(frame, kernel, strict=True))
            for kernel in kernels
        ]
        for frame in x
    ]
    return np.array(result) / np.sqrt(1 + 1e-5)


def fused(fusion, x, later):
    """X of one stage, cell by cell."""
    x = convolved(fusion.project, x)
    if later is None:
        return x
    weight, bias = (p.detach().numpy() for p in fusion.attention.parameters())
    result = np.zeros_like(x)
    for f, i, j in np.ndindex(len(x), *x.shape[2:]):
        mine, others = x[f, :, i, j], later[f, :, i // 2, j // 2]
        z = 1 / (1 + np.exp(-(weight[:, :, 0, 0] @ np.concatenate([mine, others]) + bias)))
        result[f, :, i, j] = z[0] * mine + z[1] * others
    return result


def test_equals_a_loop(student, teacher, batch, student_specs, teacher_specs, monkeypatch):
    monkeypatch.setattr("kdbench.methods.reviewkd.CONTEXTS", ())  # tested on their own
    method = review(student_specs, teacher_specs, weight=3.0).eval()
    expected, later = 0.0, None
    for name, fusion in zip(
        ("backbone.2", "backbone.1", "backbone.0"), method.fusions, strict=True
    ):
        later = fused(fusion, student[name].numpy(), later)
        expected += np.mean((convolved(fusion.output, later) - teacher[name].numpy()) ** 2)
    found = method(student, teacher, batch)["review"].item()
    assert found == pytest.approx(3 * expected)


def test_the_coarsest_stage_reviews_nothing(student, student_specs, teacher_specs):
    method = review(student_specs, teacher_specs)
    assert [fusion.attention is None for fusion in method.fusions] == [True, False, False]


def test_early_stages_of_the_teacher_teach_late_ones_of_the_student(
    student, teacher, student_specs, teacher_specs
):
    method = review(student_specs, teacher_specs)
    late = student["backbone.2"].requires_grad_()
    x, _ = method.fusions[0](late, None)
    for i, name in ((1, "backbone.1"), (2, "backbone.0")):
        x, output = method.fusions[i](student[name], x)
    context_loss(output, teacher["backbone.0"]).backward()
    assert late.grad.any()


def test_all_stages_and_parameters_learn(student, teacher, batch, student_specs, teacher_specs):
    method = review(student_specs, teacher_specs)
    maps = [student[name].requires_grad_() for name in method.names]
    method(student, teacher, batch)["review"].backward()
    assert all(x.grad.any() for x in [*maps, *method.parameters()])


def test_the_width_of_the_fused_maps(student_specs, teacher_specs):
    coarsest = student_specs["backbone.2"].channels
    for options, width in (({}, coarsest), ({"channels": 7}, 7)):
        method = review(student_specs, teacher_specs, **options)
        assert {fusion.project[0].out_channels for fusion in method.fusions} == {width}


def test_a_tap_that_is_no_map_is_refused(student_specs, teacher_specs):
    with pytest.raises(UsageError, match="tap.*neck"):
        review(student_specs, teacher_specs, tap="voxel")

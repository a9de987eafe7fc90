"""Flow between stages against loops over cells."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.fsp import FlowOfSolution, flow


def fsp(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return FlowOfSolution(student_specs, teacher_specs, **options).double()


def halved(x):
    """The maximum of each 2 x 2 cells of a map (C, H, W)."""
    return np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


def flow_loop(first, second):
    """G of one frame, the first map at twice the resolution of the second."""
    first = halved(first)
    cells = list(np.ndindex(second.shape[1:]))
    return sum(np.outer(first[:, i, j], second[:, i, j]) for i, j in cells) / len(cells)


def adapted(method, student):
    maps = []
    for name, adapter in zip(method.names, method.adapters, strict=True):
        weight, bias = (p.detach().numpy() for p in adapter.parameters())
        x = np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], student[name].numpy())
        maps.append(x + bias[:, None, None])
    return maps


def test_equals_a_loop(student, teacher, batch, student_specs, teacher_specs):
    method = fsp(student_specs, teacher_specs, weight=2.0)
    maps_s, maps_t = adapted(method, student), [teacher[name].numpy() for name in method.names]
    expected = 0.0
    for stage in (0, 1):
        errors = [
            flow_loop(maps_s[stage][f], maps_s[stage + 1][f])
            - flow_loop(maps_t[stage][f], maps_t[stage + 1][f])
            for f in (0, 1)
        ]
        expected += np.mean(np.square(errors))
    assert method(student, teacher, batch)["flow"].item() == pytest.approx(2 * expected)


def test_the_matrix_joins_the_channels_of_both_maps(teacher):
    first, second = teacher["backbone.0"], teacher["backbone.1"]
    assert flow(first, second).shape == (2, 5, 10)
    torch.testing.assert_close(flow(second, first), flow(first, second).mT)


def test_the_order_of_cells_changes_nothing(teacher):
    x, y = teacher["neck"], teacher["backbone.0"]
    torch.testing.assert_close(flow(x.flip(2, 3), y.flip(2, 3)), flow(x, y))


def test_equal_maps_cost_nothing_once_adapters_are_shared(teacher, batch, teacher_specs):
    method = fsp(teacher_specs, teacher_specs)
    assert method(teacher, teacher, batch)["flow"] > 0
    method.share_adapters()
    assert method(teacher, teacher, batch)["flow"] == 0


def test_gradient_equals_finite_differences(student):
    maps = [student[f"backbone.{i}"].clone().requires_grad_() for i in (1, 2)]
    assert gradcheck(flow, maps)


def test_all_stages_and_adapters_learn(student, teacher, batch, student_specs, teacher_specs):
    method = fsp(student_specs, teacher_specs)
    maps = [student[name].requires_grad_() for name in method.names]
    method(student, teacher, batch)["flow"].backward()
    assert all(x.grad.any() for x in [*maps, *method.parameters()])


@pytest.mark.parametrize("tap", ["neck", "voxel"])
def test_fewer_than_two_maps_are_refused(student_specs, teacher_specs, tap):
    with pytest.raises(UsageError, match="tap"):
        fsp(student_specs, teacher_specs, tap=tap)

"""Hints against loops."""

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.fitnet import FitNet


def fitnet(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return FitNet(student_specs, teacher_specs, **options).double()


def as_rows(tap):
    """(positions, channels) of a map or of rows."""
    if isinstance(tap, torch.Tensor):
        return tap.permute(0, 2, 3, 1).flatten(0, 2).numpy()
    return tap.features.numpy()


def loop(method, student, teacher):
    total = 0.0
    for name, adapter in zip(method.names, method.adapters, strict=True):
        weight, bias = (p.detach().numpy() for p in (adapter.map.weight, adapter.map.bias))
        weight = weight.reshape(weight.shape[:2])
        rows = zip(as_rows(student[name]), as_rows(teacher[name]), strict=True)
        total += np.mean([(weight @ s + bias - t) ** 2 for s, t in rows])
    return total


@pytest.mark.parametrize("tap, count", [("neck", 1), ("voxel", 1), ("backbone.*", 3)])
def test_equals_a_loop(student, teacher, batch, student_specs, teacher_specs, tap, count):
    method = fitnet(student_specs, teacher_specs, tap=tap, weight=2.0)
    assert len(method.adapters) == count
    found = method(student, teacher, batch)["hint"].item()
    assert found == pytest.approx(2 * loop(method, student, teacher))


def test_equal_features_cost_nothing_once_adapters_are_shared(student, batch, student_specs):
    method = fitnet(student_specs, student_specs, tap="backbone.*")
    assert method(student, student, batch)["hint"] > 0
    method.share_adapters()
    assert method(student, student, batch)["hint"] == 0


def test_student_and_adapter_get_gradients(student, teacher, batch, student_specs, teacher_specs):
    method = fitnet(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, batch)["hint"].backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in method.parameters())


def test_a_cloud_without_rows_costs_nothing(student, teacher, batch, student_specs, teacher_specs):
    method = fitnet(student_specs, teacher_specs, tap="voxel")
    empty = [{"voxel": taps["voxel"][:0]} for taps in (student, teacher)]
    loss = method(*empty, batch)["hint"]
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("tap", ["nek", "head.cls", "*"])
def test_a_tap_that_cannot_be_adapted_is_refused(student_specs, teacher_specs, tap):
    with pytest.raises(UsageError, match="tap.*neck"):
        fitnet(student_specs, teacher_specs, tap=tap)

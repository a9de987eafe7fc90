"""Imitation near objects against a loop over cells and anchors."""

import pytest
import torch

from kdbench.dataset import Batch
from kdbench.methods.fgfi import FineGrainedImitation
from kdbench.taps import Kind, TapSpec

HEIGHT, WIDTH = 8, 12
SIZES = ((3.0, 1.0), (1.0, 3.0), (0.8, 0.8))  # of the anchors in a cell of one metre
BOXES = [[[3.2, 4.4, 0, 2.6, 1.2, 1, 0.0], [9.5, 1.5, 0, 0.7, 0.9, 1, 0.0]], []]


def anchors():
    result = torch.zeros(HEIGHT, WIDTH, len(SIZES), 7, dtype=torch.float64)
    result[..., 0] = (torch.arange(WIDTH) + 0.5).view(1, -1, 1)
    result[..., 1] = (torch.arange(HEIGHT) + 0.5).view(-1, 1, 1)
    result[..., 3:5] = torch.tensor(SIZES)
    return result


def scene(boxes):
    frames = [torch.tensor(b).view(-1, 7) for b in boxes]
    return Batch(["0", "1"], torch.zeros(0, 5), frames, [])


def fgfi(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    head = {"head.box": TapSpec(Kind.BOX, 7, 1.0, decode=lambda codes: codes + anchors())}
    return FineGrainedImitation(student_specs | head, teacher_specs | head, **options).double()


@pytest.fixture(autouse=True)
def codes(student, teacher):
    """Box codes far from zero: the mask must come from the anchors, not from predictions."""
    shape = (2, HEIGHT, WIDTH, len(SIZES), 7)
    student["head.box"] = teacher["head.box"] = torch.full(shape, 2.0, dtype=torch.float64)


def iou(a, b):
    """Of boxes with yaw 0."""
    shared = 1.0
    for i in (0, 1):
        high = min(a[i] + a[i + 3] / 2, b[i] + b[i + 3] / 2)
        shared *= max(0.0, high - max(a[i] - a[i + 3] / 2, b[i] - b[i + 3] / 2))
    return shared / (a[3] * a[4] + b[3] * b[4] - shared)


def near(boxes, psi):
    """The cells (row, column) near the boxes of a frame, all of yaw 0."""
    cells = set()
    for box in boxes:
        overlap = {
            (row, column, a): iou(anchors()[row, column, a].tolist(), box)
            for row in range(HEIGHT) for column in range(WIDTH) for a in range(len(SIZES))
        }  # fmt: skip
        best = max(overlap.values())
        cells |= {at[:2] for at, value in overlap.items() if value > psi * best}
    return cells


def loop(method, student, teacher, psi):
    weight, bias = (p.detach() for p in method.adapter.parameters())
    total, count = 0.0, 0
    for f, boxes in enumerate(BOXES):
        for row, column in near(boxes, psi):
            adapted = weight[:, :, 0, 0] @ student["neck"][f, :, row, column] + bias
            total += (adapted - teacher["neck"][f, :, row, column]).square().sum().item()
            count += 1
    return total / (2 * count)


@pytest.mark.parametrize("psi", [0.5, 0.2, 0.8])
def test_equals_a_loop(student, teacher, student_specs, teacher_specs, psi):
    method = fgfi(student_specs, teacher_specs, psi=psi, weight=0.3)
    found = method(student, teacher, scene(BOXES))["imitation"].item()
    assert found == pytest.approx(0.3 * loop(method, student, teacher, psi), rel=1e-6)


def test_a_smaller_psi_takes_in_more_cells(student_specs, teacher_specs, student):
    counts = [
        fgfi(student_specs, teacher_specs, psi=psi)
        ._near_objects(student["head.box"], scene(BOXES).boxes).sum()
        for psi in (0.9, 0.5, 0.1)
    ]  # fmt: skip
    assert 0 < counts[0] < counts[1] < counts[2] < HEIGHT * WIDTH


def test_the_published_values_are_the_defaults(student_specs, teacher_specs):
    method = fgfi(student_specs, teacher_specs)
    assert (method.psi, method.weight) == (0.5, 0.01)


def test_equal_maps_cost_nothing_once_adapters_are_shared(teacher, teacher_specs):
    method = fgfi(teacher_specs, teacher_specs)
    assert method(teacher, teacher, scene(BOXES))["imitation"] > 0
    method.share_adapters()
    assert method(teacher, teacher, scene(BOXES))["imitation"] == 0


def test_only_cells_near_objects_get_gradients(student, teacher, student_specs, teacher_specs):
    method = fgfi(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, scene(BOXES))["imitation"].backward()
    touched = student["neck"].grad.abs().sum(1)
    assert {tuple(at) for at in touched[0].nonzero().tolist()} == near(BOXES[0], 0.5)
    assert not touched[1].any()
    assert all(p.grad.any() for p in method.parameters())


def test_without_boxes_the_loss_is_zero_with_a_gradient(
    student, teacher, student_specs, teacher_specs
):
    method = fgfi(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    loss = method(student, teacher, scene([[], []]))["imitation"]
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None for p in method.parameters())

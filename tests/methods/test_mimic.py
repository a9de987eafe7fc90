"""Pooled features against bilinear interpolation by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.methods.mimic import Mimic

CELL, ORIGIN, SIZE = 0.5, (-1.0, -2.0), 3
# Two boxes in the first frame, the second one partly off the map; one in the second frame.
BOXES = [
    [[1.0, 0.3, 0, 2.0, 1.0, 1, 0.4], [4.8, 1.5, 0, 3.0, 1.5, 1, -2.0]],
    [[2.0, -1.0, 0, 0.4, 0.2, 1, 1.5]],
]


def scene(boxes):
    frames = [torch.tensor(b).view(-1, 7) for b in boxes]
    return Batch(["0", "1"], torch.zeros(0, 5), frames, [])


@pytest.fixture
def mimic(student_specs, teacher_specs):
    torch.manual_seed(0)
    specs = [
        {name: replace(spec, cell=CELL, origin=ORIGIN) for name, spec in specs.items()}
        for specs in (student_specs, teacher_specs)
    ]
    return Mimic(*specs, size=SIZE, weight=0.1).double()


def sampled(x, place):
    """Features of a map (C, H, W) at x, y in metres; cells off the map are zeros."""
    u, v = ((p - o) / CELL - 0.5 for p, o in zip(place, ORIGIN, strict=True))
    value = np.zeros(len(x))
    for column in (math.floor(u), math.floor(u) + 1):
        for row in (math.floor(v), math.floor(v) + 1):
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                value += (1 - abs(u - column)) * (1 - abs(v - row)) * x[:, row, column]
    return value


def grid(box):
    x, y, _, length, width, _, yaw = box
    for i in range(SIZE):
        for j in range(SIZE):
            along, across = length * ((i + 0.5) / SIZE - 0.5), width * ((j + 0.5) / SIZE - 0.5)
            yield (
                x + along * math.cos(yaw) - across * math.sin(yaw),
                y + along * math.sin(yaw) + across * math.cos(yaw),
            )


def loop(method, student, teacher, boxes):
    weight, bias = (p.detach().numpy() for p in method.adapter.parameters())
    errors = []
    for f, frame in enumerate(boxes):
        map_s, map_t = (taps["neck"][f].numpy() for taps in (student, teacher))
        for box in frame:
            for place in grid(box):
                adapted = weight[:, :, 0, 0] @ sampled(map_s, place) + bias
                errors.append(np.mean((adapted - sampled(map_t, place)) ** 2))
    return 0.1 * np.mean(errors) / 2


def test_equals_a_loop(mimic, student, teacher):
    found = mimic(student, teacher, scene(BOXES))["mimic"].item()
    assert found == pytest.approx(loop(mimic, student, teacher, BOXES), rel=1e-5)


def test_the_published_grid_and_weight_are_the_defaults(student_specs, teacher_specs):
    method = Mimic(student_specs, teacher_specs)
    assert (method.size, method.weight) == (7, 0.1)


def test_what_is_far_from_objects_does_not_count(mimic, student, teacher):
    loss = mimic(student, teacher, scene([BOXES[0], []]))["mimic"]
    student["neck"][1] += 5  # the frame without boxes
    student["neck"][0, :, :2, :2] += 5  # the corner without boxes
    assert mimic(student, teacher, scene([BOXES[0], []]))["mimic"] == loss


def test_equal_maps_cost_nothing_once_adapters_are_shared(teacher, teacher_specs):
    method = Mimic(teacher_specs, teacher_specs).double()
    specs = replace(teacher_specs["neck"], cell=CELL, origin=ORIGIN)
    method.student_specs = method.teacher_specs = {"neck": specs}
    assert method(teacher, teacher, scene(BOXES))["mimic"] > 0
    method.share_adapters()
    assert method(teacher, teacher, scene(BOXES))["mimic"].item() == pytest.approx(0, abs=1e-12)


def test_student_and_adapter_learn(mimic, student, teacher):
    student["neck"].requires_grad_()
    mimic(student, teacher, scene(BOXES))["mimic"].backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in mimic.parameters())


def test_without_boxes_the_loss_is_zero_with_a_gradient(mimic, student, teacher):
    student["neck"].requires_grad_()
    loss = mimic(student, teacher, scene([[], []]))["mimic"]
    loss.backward()
    assert loss == 0
    assert not student["neck"].grad.any()
    assert all(p.grad is not None for p in mimic.parameters())

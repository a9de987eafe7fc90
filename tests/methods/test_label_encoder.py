"""Labels drawn on a map, an encoder that learns through the teacher's head, and its imitation."""

import math

import pytest
import torch

from kdbench.methods.label_encoder import LabelEncoder
from kdbench.ops.regions import foreground
from kdbench.training.conformance import tiny_scene
from tests.methods.frozen import network

STUDENT, TEACHER = network(64), network(16)
SCENE = tiny_scene(TEACHER.point_range)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return LabelEncoder(STUDENT.taps, TEACHER.taps, width=16)


@pytest.fixture
def necks():
    with torch.no_grad():
        return [{"neck": n(n.prepare(SCENE))["neck"]} for n in (STUDENT, TEACHER)]


def test_a_cell_inside_a_box_holds_the_box(method, necks):
    drawn, inside = method._drawn(necks[1]["neck"], SCENE)
    spec = TEACHER.taps["neck"]
    index = foreground(SCENE.boxes, spec, *drawn.shape[2:])
    assert torch.equal(inside, index >= 0) and inside.any()
    assert (drawn.abs().amax(1) > 0).equal(inside)
    for b, row, column in inside.nonzero().tolist():
        box = SCENE.boxes[b][index[b, row, column]].tolist()
        label = int(SCENE.labels[b][index[b, row, column]])
        x = spec.origin[0] + (column + 0.5) * spec.cell
        y = spec.origin[1] + (row + 0.5) * spec.cell
        expected = [float(i == label) for i in range(3)] + [box[0] - x, box[1] - y, box[2]]
        expected += [*map(math.log, box[3:6]), math.sin(box[6]), math.cos(box[6])]
        assert drawn[b, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_loss_is_a_mean_over_cells_inside_of_boxes(method, necks):
    student, teacher = necks
    found = method(student, teacher, SCENE)["feature"]
    drawn, inside = method._drawn(teacher["neck"], SCENE)
    gap = method.adapter(student["neck"]) - method.encoder(drawn)
    cells = [gap[b, :, y, x].square().mean() for b, y, x in inside.nonzero().tolist()]
    assert found.item() == pytest.approx(0.3 * torch.stack(cells).mean().item(), rel=1e-4)


def test_the_encoder_learns_to_say_the_labels_through_the_teachers_head(method, necks):
    optimizer = torch.optim.Adam(method.encoder.parameters(), lr=3e-3)
    totals = []
    for _ in range(80):
        loss = sum(method.stage_loss(TEACHER, necks[1], SCENE).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < totals[0] / 2
    assert all(p.grad is None for p in TEACHER.parameters())


def test_the_target_is_a_constant(method, necks):
    method(*necks, SCENE)["feature"].backward()
    assert all(p.grad is None for p in method.encoder.parameters())
    assert method.adapter.map.weight.grad.abs().sum() > 0

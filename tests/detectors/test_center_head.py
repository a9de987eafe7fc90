"""The centre head: its box code, its loss against a plain loop, its predictions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from kdbench.dataset import Batch
from kdbench.detectors.layers.center_head import CenterHead
from kdbench.detectors.layers.heat_maps import gaussian_radius, heat_map_focal, heat_maps

CLASSES = ("Car", "Pedestrian", "Cyclist")
CORNER, CELL, HEIGHT, WIDTH = (0.0, -6.0), 0.8, 15, 20  # 16 x 12 m
SIZES = [(3.9, 1.6, 1.56), (0.8, 0.6, 1.73), (1.76, 0.6, 1.73)]


def make_head(inputs=4, width=8):
    torch.manual_seed(0)
    return CenterHead(inputs, CLASSES, width, CORNER, CELL, 0.01)


HEAD = make_head()


@pytest.fixture
def head():
    return HEAD.train()


def box_of(label, x, y, yaw):
    return [x, y, SIZES[label][2] / 2 - 1.7, *SIZES[label], yaw]


FRAMES = [
    [(0, 3.2, -2.7, 0.1), (1, 8.4, 3.7, 1.4), (2, 5.5, 4.5, -3.0), (0, 8.9, -1.8, -1.7)],
    [],
    [(2, 2.3, -3.4, 0.3), (1, 9.65, 0.45, -0.2), (1, 10.35, 0.75, 2.0)],  # the last share a cell
]


def scene(frames=FRAMES):
    boxes = [torch.tensor([box_of(*o) for o in frame]).reshape(-1, 7) for frame in frames]
    labels = [torch.tensor([o[0] for o in frame], dtype=torch.long) for frame in frames]
    return Batch([str(i) for i in range(len(frames))], torch.zeros(0, 5), boxes, labels)


def random_outputs(frames=3):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(frames, HEIGHT, WIDTH, 1, n, generator=generator).requires_grad_()
        for name, n in (("cls", 3), ("box", 8))
    }


# Box code

x, y, size = st.floats(0, 15.9), st.floats(-6, 5.9), st.floats(0.1, 50)
some_box = st.tuples(x, y, st.floats(-5, 5), size, size, size, st.floats(-3.1, 3.1))


@given(some_box)
def test_decode_inverts_encode(box):
    box = torch.tensor([box], dtype=torch.float64)
    ((row, column),), code = HEAD.encode(box)
    codes = torch.zeros(HEIGHT, WIDTH, 1, 8, dtype=torch.float64)
    codes[row, column, 0] = code[0]
    torch.testing.assert_close(HEAD.decode(codes)[row, column], box, rtol=1e-6, atol=1e-6)


def test_the_code_of_a_box(head):
    cell, code = head.encode(torch.tensor([[2.0, -5.8, -1, 4, 2, 1.5, 2.0]]))
    assert cell.tolist() == [[0, 2]]  # row, column
    logs = [math.log(4), math.log(2), math.log(1.5)]
    expected = [0.5, 0.25, -1, *logs, math.sin(2), math.cos(2)]
    torch.testing.assert_close(code, torch.tensor([expected]))


def test_opposite_headings_have_different_codes(head):
    boxes = torch.tensor([box_of(0, 3, 1, 0.3), box_of(0, 3, 1, 0.3 - math.pi)])
    _, (one, other) = head.encode(boxes)
    torch.testing.assert_close(one[6:], -other[6:])


@pytest.mark.parametrize("value", [0.0, 1000.0, -1000.0])
def test_any_code_gives_a_finite_box_with_finite_gradients(head, value):
    codes = torch.full((1, HEIGHT, WIDTH, 1, 8), value, requires_grad=True)
    boxes = head.decode(codes)
    assert boxes.shape == (1, HEIGHT, WIDTH, 1, 7)
    boxes.sum().backward()
    assert boxes.isfinite().all() and codes.grad.isfinite().all()


def test_decode_has_the_gradient_of_finite_differences(head):
    codes = torch.randn(2, 2, 3, 1, 8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(head.decode, codes)


# Loss


def loss_loop(outputs, batch):
    cls, box, objects = 0.0, 0.0, 0
    for b, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
        heat = torch.zeros(HEIGHT, WIDTH, 3)
        for (x, y, z, *sizes, yaw), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            column, row = (x - CORNER[0]) / CELL, (y - CORNER[1]) / CELL
            cell = torch.tensor([[int(row), int(column)]])
            radius = gaussian_radius(torch.tensor([sizes[:2]]) / CELL)
            one = heat_maps(cell, radius, torch.tensor([0]), (1, HEIGHT, WIDTH))[0]
            heat[..., label] = torch.maximum(heat[..., label], one)
            code = [column % 1, row % 1, z, *map(math.log, sizes), math.sin(yaw), math.cos(yaw)]
            box += (outputs["box"][b, int(row), int(column), 0] - torch.tensor(code)).abs().sum()
            objects += 1
        cls += heat_map_focal(outputs["cls"][b, :, :, 0], heat).sum()
    return {"cls": cls / objects, "box": 2 * box / objects}


def test_loss_and_gradients_equal_a_loop(head):
    batch, outputs = scene(), random_outputs()
    losses, expected = head.loss(outputs, batch), loss_loop(outputs, batch)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    mine = torch.autograd.grad(sum(losses.values()), outputs.values())
    loops = torch.autograd.grad(sum(expected.values()), outputs.values())
    torch.testing.assert_close(mine, loops, rtol=1e-4, atol=1e-6)


def test_boxes_are_learned_at_the_centres_of_objects_alone(head):
    outputs = random_outputs()
    head.loss(outputs, scene())["box"].backward()
    learned = outputs["box"].grad.abs().sum(-1).nonzero()
    assert learned.tolist() == [
        [0, 4, 4, 0], [0, 5, 11, 0], [0, 12, 10, 0], [0, 13, 6, 0], [2, 3, 2, 0], [2, 8, 12, 0],
    ]  # fmt: skip


def test_without_objects_only_background_is_learned(head):
    outputs = random_outputs(2)
    losses = head.loss(outputs, scene([[], []]))
    background = heat_map_focal(outputs["cls"], torch.zeros_like(outputs["cls"])).sum()
    torch.testing.assert_close(losses["cls"], background)
    assert losses["box"] == 0
    sum(losses.values()).backward()
    assert all(x.grad.isfinite().all() for x in outputs.values())


OFF = [[-0.1, 0, 0, 4, 2, 1, 0], [16.1, 0, 0, 4, 2, 1, 0], [5, -6.1, 0, 4, 2, 1, 0],
       [5, 6.1, 0, 4, 2, 1, 0], [900, -900, 0, 4, 2, 1, 0]]  # fmt: skip
NO_SIZE = [[5, 0, 0, 0, 2, 1, 0], [5, 0, 0, 4, -1, 1, 0], [5, 0, 0, 4, 2, 0, 0]]


@pytest.mark.parametrize("box", OFF + NO_SIZE)
def test_objects_off_the_map_or_without_a_size_change_nothing(head, box):
    outputs, batch, more = random_outputs(), scene(), scene()
    more.boxes[0] = torch.cat([batch.boxes[0], torch.tensor([box]).float()])
    more.labels[0] = torch.cat([batch.labels[0], torch.tensor([1])])
    assert head.loss(outputs, more) == head.loss(outputs, batch)


def test_an_object_larger_than_the_map_heats_all_of_it(head):
    batch = scene([[]])
    batch.boxes[0] = torch.tensor([[8, 0, 0, 300, 300, 3, 0.0]])
    batch.labels[0] = torch.tensor([0])
    outputs = random_outputs(1)
    losses = head.loss(outputs, batch)
    assert all(x.isfinite() for x in losses.values())
    cold = heat_map_focal(outputs["cls"], torch.zeros_like(outputs["cls"]))
    assert losses["cls"] < cold[..., 1:].sum() + 0.1 * cold[..., 0].sum()


def test_a_frame_twice_gives_the_loss_of_it_once(head):
    outputs = random_outputs(1)
    twice = {name: torch.cat([x, x]) for name, x in outputs.items()}
    torch.testing.assert_close(
        head.loss(twice, scene([FRAMES[0]] * 2)), head.loss(outputs, scene([FRAMES[0]]))
    )


# Prediction

SILENT = -12.0  # a logit far below any threshold


def exact_outputs(head, objects, score=0.9):
    """Outputs that say exactly what `objects` are; scores fall by 0.01 from one to the next."""
    outputs = {
        "cls": torch.full((1, HEIGHT, WIDTH, 1, 3), SILENT),
        "box": torch.zeros(1, HEIGHT, WIDTH, 1, 8),
    }
    for k, (label, *rest) in enumerate(objects):
        ((row, column),), code = head.encode(torch.tensor([box_of(label, *rest)]))
        outputs["box"][0, row, column, 0] = code[0]
        p = score - 0.01 * k
        outputs["cls"][0, row, column, 0, label] = math.log(p / (1 - p))
    return outputs


def predict(head, outputs, score=0.1, nms=0.2, before=100, after=50):
    return head.predict(outputs, score, nms, before, after)


def test_boxes_put_in_by_inverting_the_code_come_out(head):
    (found,) = predict(head, exact_outputs(head, FRAMES[0]))
    expected = torch.tensor([box_of(*o) for o in FRAMES[0]])
    torch.testing.assert_close(found.boxes, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.89, 0.88, 0.87]))
    assert found.labels.tolist() == [0, 1, 2, 0]


def test_each_frame_gives_its_own(head):
    parts = [exact_outputs(head, frame) for frame in FRAMES[:2] + [FRAMES[0][:1]]]
    outputs = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
    assert [len(found.boxes) for found in predict(head, outputs)] == [4, 0, 1]


def test_nothing_above_the_threshold_gives_empty_detections(head):
    (found,) = predict(head, exact_outputs(head, []))
    assert found.boxes.shape == (0, 7)
    assert len(found.scores) == len(found.labels) == 0
    assert found.labels.dtype == torch.int64


def test_of_overlapping_boxes_of_one_class_the_best_stays(head):
    cars = exact_outputs(head, [(0, 5, 0, 0.0), (0, 6, 0.3, 0.1)])
    assert [len(predict(head, cars, nms=n)[0].boxes) for n in (0.2, 0.9)] == [1, 2]
    side_by_side = exact_outputs(head, [(0, 5, 0, 0.0), (0, 5, 1.9, 0.0)])
    assert len(predict(head, side_by_side)[0].boxes) == 2


def test_boxes_of_different_classes_do_not_suppress_each_other(head):
    objects = [(0, 5, 0.1, 0.0), (1, 5, 0.9, 0.0), (2, 5, 1.7, 0.0)]
    assert predict(head, exact_outputs(head, objects))[0].labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("score, count", [(0.865, 4), (0.885, 2), (0.95, 0)])
def test_the_score_threshold_keeps_what_reaches_it(head, score, count):
    (found,) = predict(head, exact_outputs(head, FRAMES[0]), score=score)
    assert len(found.boxes) == count


def test_how_many_boxes_enter_nms_and_leave_the_frame(head):
    apart = exact_outputs(head, [(0, 3, -4, 0.0), (0, 3, 0, 0.0), (0, 3, 4, 0.0), (1, 9, 4, 0.0)])
    assert predict(head, apart, before=2)[0].labels.tolist() == [0, 0, 1]
    assert predict(head, apart, after=3)[0].labels.tolist() == [0, 0, 0]


# Network


def test_outputs_are_the_branches_over_one_shared_map(head):
    neck = torch.randn(2, 4, HEIGHT, WIDTH)
    head.eval()  # what training mode sees once changes the running statistics
    outputs, shared = head(neck), head.shared(neck)
    places = {"heat": ("cls", slice(None)), "offset": ("box", slice(0, 2)),
              "z": ("box", slice(2, 3)), "size": ("box", slice(3, 6)),
              "heading": ("box", slice(6, 8))}  # fmt: skip
    assert list(head.branches) == list(places)
    for name, (output, columns) in places.items():
        expected = head.branches[name](shared).permute(0, 2, 3, 1)
        torch.testing.assert_close(outputs[output][:, :, :, 0, columns], expected)


def test_new_heads_of_all_widths_say_about_the_same(head):
    for width in (8, 64):
        outputs = make_head(width=width)(torch.randn(2, 4, HEIGHT, WIDTH))
        assert 0.05 < outputs["cls"].sigmoid().mean() < 0.2  # the prior is 0.1
        assert outputs["box"].abs().max() < 0.1

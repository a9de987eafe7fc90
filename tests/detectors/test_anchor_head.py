"""The anchor head's loss against a plain loop, and its predictions from exact outputs."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdbench.dataset import Batch
from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.detectors.layers.anchors import (
    IGNORED,
    KITTI_ANCHORS,
    encode,
    heading_bin,
    match,
)
from kdbench.detectors.layers.losses import box_code_loss, sigmoid_focal
from kdbench.ops.bev_iou import aligned_footprints, aligned_iou

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -6.0, -3.0, 12.0, 6.0, 1.0)
HEIGHT = WIDTH = 12
SHAPE = (HEIGHT, WIDTH, 6)


@pytest.fixture
def head():
    return AnchorHead(4, CLASSES, RANGE, HEIGHT, WIDTH)


def box_of(label, x, y, yaw, grow=1.0):
    kind = KITTI_ANCHORS[CLASSES[label]]
    length, width, height = (s * grow for s in kind.size)
    return [x, y, kind.bottom + kind.size[2] / 2, length, width, height, yaw]


FRAMES = [
    [(0, 3.2, -2.7, 0.1), (1, 8.4, 3.6, 1.4), (2, 5.5, 4.4, -3.0), (0, 8.9, -1.8, -1.7)],
    [],
    [(2, 2.3, -3.4, 0.3), (1, 9.5, 0.4, -0.2), (1, 10.1, 0.7, 2.0)],
]


def scene(frames=FRAMES):
    boxes = [torch.tensor([box_of(*o) for o in frame]).reshape(-1, 7) for frame in frames]
    labels = [torch.tensor([o[0] for o in frame], dtype=torch.long) for frame in frames]
    return Batch([str(i) for i in range(len(frames))], torch.zeros(0, 5), boxes, labels)


def random_outputs(frames=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"cls": 3, "box": 7, "dir": 2}
    return {
        name: torch.randn(frames, *SHAPE, size, generator=generator).requires_grad_()
        for name, size in sizes.items()
    }


# Loss


def owners(head, boxes, labels):
    """Box of each anchor of a frame, class by class."""
    owner = torch.full(SHAPE, -1)
    for i, name in enumerate(CLASSES):
        mine = [j for j, label in enumerate(labels.tolist()) if label == i]
        for heading in (0, 1):
            assert (head.anchors[:, :, 2 * i + heading, 3] == KITTI_ANCHORS[name].size[0]).all()
        of_class = head.anchors[:, :, 2 * i : 2 * i + 2].reshape(-1, 7)
        iou = aligned_iou(aligned_footprints(of_class), aligned_footprints(boxes[mine]))
        found = match(iou, KITTI_ANCHORS[name].matched, KITTI_ANCHORS[name].unmatched)
        found = found.view(HEIGHT, WIDTH, 2)
        for at in np.ndindex(HEIGHT, WIDTH, 2):
            j = found[at].item()
            owner[at[0], at[1], 2 * i + at[2]] = mine[j] if j >= 0 else j
    return owner


def loss_loop(head, outputs, batch):
    cls, box, direction, positives = 0.0, 0.0, 0.0, 0
    for b in range(len(batch)):
        boxes, labels = batch.boxes[b], batch.labels[b]
        owner = owners(head, boxes, labels)
        for at in np.ndindex(*SHAPE):
            j = owner[at].item()
            target = torch.zeros(3)
            if j >= 0:
                positives += 1
                target[labels[j]] = 1
                code = encode(boxes[j], head.anchors[at])
                box += box_code_loss(outputs["box"][b][at][None], code[None]).sum()
                bins = heading_bin(boxes[j, 6])
                direction += F.cross_entropy(outputs["dir"][b][at], bins)
            if j != IGNORED:
                cls += sigmoid_focal(outputs["cls"][b][at], target).sum()
    count = max(positives, 1)
    return {"cls": cls / count, "box": 2 * box / count, "dir": 0.2 * direction / count}


def test_loss_and_gradients_equal_a_loop(head):
    batch, outputs = scene(), random_outputs()
    pairs = zip(batch.boxes, batch.labels, strict=True)
    owner = torch.stack([owners(head, *pair) for pair in pairs])
    assert len(owner.unique()) == 6  # four boxes, background, ignored
    losses, expected = head.loss(outputs, batch), loss_loop(head, outputs, batch)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    mine = torch.autograd.grad(sum(losses.values()), outputs.values())
    loops = torch.autograd.grad(sum(expected.values()), outputs.values())
    torch.testing.assert_close(mine, loops, rtol=1e-4, atol=1e-6)


def test_ignored_anchors_have_no_gradient(head):
    batch, outputs = scene(), random_outputs()
    sum(head.loss(outputs, batch).values()).backward()
    owner = head.assign(batch.boxes, batch.labels)
    moved = outputs["cls"].grad.abs().sum(-1) > 0
    assert torch.equal(moved, owner != IGNORED)
    assert torch.equal(outputs["box"].grad.abs().sum(-1) > 0, owner >= 0)
    assert torch.equal(outputs["dir"].grad.abs().sum(-1) > 0, owner >= 0)


def test_without_objects_only_background_is_learned(head):
    outputs = random_outputs(frames=2)
    losses = head.loss(outputs, scene([[], []]))
    expected = sigmoid_focal(outputs["cls"], torch.zeros_like(outputs["cls"])).sum()
    torch.testing.assert_close(losses["cls"], expected)
    assert losses["box"] == losses["dir"] == 0
    sum(losses.values()).backward()
    assert all(x.grad.isfinite().all() for x in outputs.values())


def test_a_frame_twice_gives_the_loss_of_it_once(head):
    outputs = random_outputs(frames=1)
    twice = {name: torch.cat([x, x]) for name, x in outputs.items()}
    torch.testing.assert_close(
        head.loss(twice, scene([FRAMES[0]] * 2)), head.loss(outputs, scene([FRAMES[0]]))
    )


def test_an_object_only_takes_anchors_of_its_class(head):
    (boxes,), (labels,) = scene([FRAMES[0]]).boxes, scene([FRAMES[0]]).labels
    owner = head.assign([boxes], [labels])[0].unflatten(2, (3, 2))
    for i in range(3):
        mine = owner[:, :, i]
        assert (labels[mine[mine >= 0]] == i).all()
        assert (mine >= 0).any()


# Prediction

SILENT = -12.0  # a logit far below any threshold


def exact_outputs(head, objects, score=0.9):
    """Outputs that say exactly what `objects` are, each at the best anchor of its class."""
    outputs = {
        "cls": torch.full((1, *SHAPE, 3), SILENT),
        "box": torch.zeros(1, *SHAPE, 7),
        "dir": torch.zeros(1, *SHAPE, 2),
    }
    for k, (label, *rest) in enumerate(objects):
        box = torch.tensor(box_of(label, *rest))
        of_class = head.anchors[:, :, 2 * label]
        nearest = (of_class[..., :2] - box[:2]).square().sum(-1).argmin().item()
        at = (0, nearest // WIDTH, nearest % WIDTH, 2 * label)
        code = encode(box, head.anchors[at[1:]])
        code[6] += math.pi * (k % 2)  # the code leaves half-turns open, the direction says
        outputs["box"][at], outputs["dir"][at][heading_bin(box[6])] = code, 5.0
        outputs["cls"][at][label] = math.log((score - 0.01 * k) / (1 - score + 0.01 * k))
    return outputs


def predict(head, outputs, score=0.1, nms=0.01, before=100, after=50):
    return head.predict(outputs, score, nms, before, after)


def test_boxes_put_in_by_inverting_the_code_come_out(head):
    objects = FRAMES[0]
    (found,) = predict(head, exact_outputs(head, objects))
    expected = torch.tensor([box_of(*o) for o in objects])
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
    (found,) = predict(head, exact_outputs(head, [(0, 5, 0, 0.0), (0, 6, 0.3, 0.1)]))
    assert found.scores.tolist() == pytest.approx([0.9])
    (found,) = predict(head, exact_outputs(head, [(0, 5, 0, 0.0), (0, 6, 0.3, 0.1)]), nms=0.9)
    assert found.scores.tolist() == pytest.approx([0.9, 0.89])


def test_boxes_of_different_classes_do_not_suppress_each_other(head):
    (found,) = predict(head, exact_outputs(head, [(0, 5, 0, 0.0), (1, 5, 0, 0.0), (2, 5, 0, 0.0)]))
    assert found.labels.tolist() == [0, 1, 2]


def test_the_score_threshold_keeps_what_reaches_it(head):
    outputs = exact_outputs(head, FRAMES[0])  # 0.9, 0.89, 0.88, 0.87
    assert [len(predict(head, outputs, score=s)[0].scores) for s in (0.865, 0.885, 0.95)] == [
        4,
        2,
        0,
    ]


def test_at_most_after_boxes_of_a_frame_the_best_of_all_classes(head):
    (found,) = predict(head, exact_outputs(head, FRAMES[0]), after=3)
    assert found.labels.tolist() == [0, 1, 2]


def test_at_most_before_boxes_of_a_class_enter_nms(head):
    apart = [(0, 3, -4, 0.0), (0, 3, 0, 0.0), (0, 3, 4, 0.0), (1, 9, 4, 0.0)]
    (found,) = predict(head, exact_outputs(head, apart), before=2)
    assert found.labels.tolist() == [0, 0, 1]


def test_the_outputs_of_the_convolutions_keep_their_cells_and_anchors(head):
    neck = torch.randn(2, 4, HEIGHT, WIDTH)
    outputs = head(neck)
    maps = head.outputs(neck).split([6 * 3, 6 * 7, 6 * 2], dim=1)
    for raw, (name, size) in zip(maps, (("cls", 3), ("box", 7), ("dir", 2)), strict=True):
        assert outputs[name].shape == (2, *SHAPE, size)
        for anchor in (0, 5):
            expected = raw[1, anchor * size : (anchor + 1) * size, 3, 7]
            assert torch.equal(outputs[name][1, 3, 7, anchor], expected)


def test_a_new_head_scores_near_its_prior(head):
    scores = head(torch.zeros(1, 4, HEIGHT, WIDTH))["cls"].sigmoid()
    torch.testing.assert_close(scores, torch.full_like(scores, 0.01))

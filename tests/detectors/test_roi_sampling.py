"""Proposals: which are kept, which are learned from, and what they are compared with."""

import numpy as np
import pytest
import torch

from kdbench.detectors.layers import roi_sampling as S
from kdbench.detectors.layers.point_input import generator
from kdbench.geometry import rotated_iou
from kdbench.geometry.rotated_iou_torch import bev_iou

NONE = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)


def random_boxes(n, seed=0, spread=6.0):
    rng = np.random.default_rng(seed)
    columns = [
        rng.uniform(0, spread, (n, 2)), rng.uniform(-1, 1, (n, 1)),
        rng.uniform(1, 4, (n, 3)), rng.uniform(-4, 4, (n, 1)),
    ]  # fmt: skip
    return torch.tensor(np.concatenate(columns, axis=1), dtype=torch.float32)


def rois(*frames):
    boxes, labels = map(list, zip(*frames, strict=True))
    return S.collect(boxes, labels, [torch.rand(len(b)) for b in boxes])


def shifted(box, *shifts):
    """Copies of a box (7,), moved along x by shares of its length."""
    copies = box.repeat(len(shifts), 1)
    copies[:, 0] += torch.tensor(shifts) * box[3]
    return copies


OBJECT = torch.tensor([5.0, 1.0, -1.0, 4.0, 2.0, 1.5, 0.0])
CAR = torch.tensor([0])


def test_3d_iou_equals_that_of_the_evaluation():
    a, b = random_boxes(30), random_boxes(20, seed=1)
    expected = rotated_iou.iou_3d(a.numpy(), b.numpy())
    assert (expected > 0.05).sum() > 20
    torch.testing.assert_close(S.iou_3d(a, b), torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_proposals_are_the_best_that_do_not_overlap():
    boxes, scores = random_boxes(2 * 80).view(2, 80, 7), torch.rand(2, 80)
    labels = torch.arange(80).expand(2, 80) % 3
    found = S.propose(boxes, scores, labels, torch.tensor([True, True]), 50, 9, 0.3)
    for i in range(2):
        mine, names = found.of(i)
        assert 1 < len(mine) <= 9
        iou = bev_iou(mine[:, [0, 1, 3, 4, 6]], mine[:, [0, 1, 3, 4, 6]])
        assert iou.fill_diagonal_(0).max() <= 0.3
        place = torch.stack([(boxes[i] == box).all(1).nonzero()[0, 0] for box in mine])
        assert place[0] == scores[i].argmax()
        assert (scores[i][place].diff() <= 0).all()
        assert (scores[i][place] >= scores[i].topk(50).values[-1]).all()
        assert torch.equal(names, labels[i][place])
        assert torch.equal(found.scores[found.frame == i], scores[i][place])


def test_a_frame_without_points_proposes_nothing():
    boxes, labels = random_boxes(20).view(2, 10, 7), torch.zeros(2, 10, dtype=torch.long)
    found = S.propose(boxes, torch.rand(2, 10), labels, torch.tensor([False, True]), 5, 5, 0.8)
    assert set(found.frame.tolist()) == {1}


def test_an_object_is_looked_for_in_the_same_frame_and_class():
    other = torch.tensor([1])
    here = rois((shifted(OBJECT, 0.1), CAR), (shifted(OBJECT, 0.1), other))
    same, iou = S.match(here, [OBJECT[None], OBJECT[None]], [CAR, CAR])
    assert torch.equal(same[0], OBJECT)
    assert iou[0] == pytest.approx(0.9 / 1.1, abs=1e-5)
    assert iou[1] == 0
    assert torch.equal(same[1], here.boxes[1])
    _, iou = S.match(here, [NONE[0], OBJECT[None]], [NONE[1], other])
    assert iou.tolist() == pytest.approx([0, 0.9 / 1.1], abs=1e-5)


def test_of_two_objects_the_one_that_fits_best_counts():
    objects = shifted(OBJECT, 0.0, 0.5)
    found, iou = S.match(
        rois((shifted(OBJECT, 0.1, 0.4), CAR.repeat(2))), [objects], [CAR.repeat(2)]
    )
    assert torch.equal(found, objects)
    assert iou.tolist() == pytest.approx([0.9 / 1.1] * 2, abs=1e-5)


def counts(found, objects=OBJECT):
    """Numbers of foreground, hard and easy background among RoIs."""
    iou = S.iou_3d(found.boxes, objects[None])[:, 0]
    return [
        int(mask.sum())
        for mask in (iou >= S.FOREGROUND, (iou < S.FOREGROUND) & (iou >= S.EASY), iou < S.EASY)
    ]


def sample(proposals, count=20, objects=OBJECT[None], labels=CAR, seed=0):
    own = rois((proposals, torch.zeros(len(proposals), dtype=torch.long)))
    return S.sample(own, [objects], [labels], count, [generator(seed)])


def proposals(foreground, hard, easy):
    step = torch.linspace(0.01, 0.1, 100).tolist()
    return torch.cat(
        [
            shifted(OBJECT, *step[:foreground]),
            shifted(OBJECT, *(0.5 + x for x in step[:hard])),
            shifted(OBJECT, *(5 + x for x in step[:easy])),
        ]
    )


@pytest.mark.parametrize(
    "available, expected",
    [
        ((50, 50, 50), [10, 8, 2]),
        ((50, 2, 0), [18, 2, 0]),
        ((50, 0, 50), [10, 0, 10]),
        ((0, 50, 50), [0, 16, 4]),
        ((0, 0, 0), [0, 0, 0]),
    ],
)
def test_half_of_the_rois_are_foreground_and_most_others_are_hard(available, expected, monkeypatch):
    monkeypatch.setattr(S, "COPIES", 0)
    found = sample(proposals(*available))
    assert counts(found) == expected
    assert len(torch.unique(found.boxes, dim=0)) == len(found.boxes)  # none twice


def test_sampling_is_as_random_as_its_generator():
    pool = proposals(50, 50, 50)
    first, again, other = (sample(pool, seed=s).boxes for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_objects_and_without_proposals():
    assert len(sample(proposals(0, 0, 30), objects=NONE[0], labels=NONE[1]).boxes) == 20
    assert len(sample(NONE[0], objects=NONE[0], labels=NONE[1]).boxes) == 0


def test_jittered_copies_are_worth_refining():
    boxes = random_boxes(50, spread=500.0)
    copies = S.jittered(boxes, generator(0))
    iou = S.iou_3d(copies, boxes)
    assert len(copies) == S.COPIES * 50
    best, owner = iou.max(1)
    assert torch.equal(owner, torch.arange(50).repeat(S.COPIES))
    assert (best >= 0.45).all() and (best > S.FOREGROUND).float().mean() > 0.9
    assert best.max() < 0.999


def test_rois_are_proposals_and_jittered_copies_of_them():
    """Never of objects: see `sample`."""
    pool = shifted(OBJECT, *torch.linspace(-3, 3, 30).tolist())
    found = sample(pool, count=60)
    same = (found.boxes[:, None] == pool).all(-1)
    assert len(found.boxes) == 60 and same.any(1).sum() == 30
    far = shifted(OBJECT, *torch.linspace(3, 5, 30).tolist())
    assert counts(sample(far, count=60)) == [0, 0, 60]

"""RDD against loops over proposals."""

import math

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import box as rectangle

from kdbench.methods.rdd import RDD
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.taps import Kind, TapSpec
from kdbench.training.conformance import CLASSES

DETECTOR = build_detector(build_spec(profile="tiny").detector, CLASSES)
ANCHORS = DETECTOR.head.anchors
STUDENT, TEACHER, COUNT = 3, 5, 4


def specs(channels):
    return DETECTOR.taps | {"neck": TapSpec(Kind.BEV, channels, 1.28)}


def taps(channels, generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    height, width, anchors = ANCHORS.shape[:3]
    cls = normal(2, height, width, anchors, 3)
    cls[:, 3:5, 3:5] += 2  # where the best boxes overlap
    return {
        "neck": normal(2, channels, height, width),
        "head.cls": cls,
        "head.box": 0.3 * normal(2, height, width, anchors, 7),
    }


@pytest.fixture
def pair(generator):
    return taps(STUDENT, generator), taps(TEACHER, generator)


def rdd(student=STUDENT, teacher=TEACHER, **options):
    torch.manual_seed(0)
    return RDD(specs(student), specs(teacher), **{"proposals": COUNT} | options).double()


def footprint(anchor, code):
    """The polygon of a box code, by equation 2 of SECOND."""
    diagonal = math.hypot(anchor[3], anchor[4])
    x, y = anchor[:2] + code[:2] * diagonal
    length, width = anchor[3:5] * np.exp(code[3:5])
    upright = rectangle(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return affinity.rotate(upright, anchor[6] + code[6], origin=(x, y), use_radians=True)


def places(found):
    """Frame, row, column, anchor of each proposal: greedy, best class score first."""
    result, anchors = [], ANCHORS.double().numpy()
    for frame, cls in enumerate(found["head.cls"].detach().numpy()):
        score = cls.max(-1)
        order = np.argsort(-score, axis=None)[: 4 * COUNT]
        kept = []
        for place in zip(*np.unravel_index(order, score.shape), strict=True):
            code = found["head.box"].detach().numpy()[(frame, *place)]
            polygon = footprint(anchors[place], code)
            shared = [polygon.intersection(p).area / polygon.union(p).area for p, _ in kept]
            if len(kept) < COUNT and all(s <= 0.1 for s in shared):
                kept.append((polygon, (frame, *place)))
        result += [place for _, place in kept]
    return result


def softmax(x):
    exponential = np.exp(x - x.max())
    return exponential / exponential.sum()


def loop(method, student, teacher):
    weight = method.adapter.map.weight.detach().numpy()[:, :, 0, 0]
    bias = method.adapter.map.bias.detach().numpy()
    disparity, feature, head = [], [], []
    for at in places(student) + places(teacher):
        cell = (at[0], slice(None), *at[1:3])
        f_s = weight @ student["neck"].numpy()[cell] + bias
        f_t = teacher["neck"].numpy()[cell]
        q_s, q_t = softmax(f_s / 4), softmax(f_t / 4)
        disparity.append((q_t * np.log(q_t / q_s)).sum())
        feature.append(math.sqrt(((f_s - f_t) ** 2).sum() / TEACHER))
        p = [1 / (1 + np.exp(-side["head.cls"].numpy()[at])) for side in (student, teacher)]
        b = student["head.box"].numpy()[at] - teacher["head.box"].numpy()[at]
        head.append(np.abs(p[0] - p[1]).sum() + np.abs(b[:6]).sum() + abs(math.sin(b[6])))
    kept = np.array(disparity) > method.sparsity * np.mean(disparity)
    return {
        "feature": 0.2 * np.mean(kept * feature),
        "head": 0.2 * np.mean(kept * head),
    }, kept.mean()


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 1.0])
def test_equals_a_loop(pair, batch, sparsity):
    method = rdd(sparsity=sparsity)
    expected, kept = loop(method, *pair)
    found = method(*pair, batch)
    assert {name: x.item() for name, x in found.items()} == pytest.approx(expected)
    assert method.logs["kept"].item() == pytest.approx(kept)
    if sparsity == 1:
        assert 0 < kept < 1


def test_the_weights_minimise_the_bottleneck(generator):
    f_s, f_t = 9 * torch.randn(2, 30, 4, generator=generator).double()
    kept = rdd(sparsity=0.7)._kept(f_s, f_t)
    log = [torch.log_softmax(f / 4, 1) for f in (f_s, f_t)]
    disparity = torch.nn.functional.kl_div(*log, reduction="none", log_target=True).sum(1)
    slope = -disparity / disparity.mean() + 0.7  # of the objective, linear in each weight
    assert torch.equal(kept, (slope < 0).double())
    assert 0 < kept.sum() < 30


def test_equal_networks_cost_nothing(pair, batch):
    method = rdd(TEACHER, TEACHER)
    assert sum(method(pair[1], pair[1], batch).values()) > 0
    method.share_adapters()
    assert sum(method(pair[1], pair[1], batch).values()) == 0


def test_student_and_adapter_learn(pair, batch):
    student, teacher = pair
    for tap in student.values():
        tap.requires_grad_()
    method = rdd()
    sum(method(student, teacher, batch).values()).backward()
    assert all(tap.grad.any() for tap in student.values())
    assert all(p.grad.any() for p in method.parameters())


def test_gradient_equals_a_finite_difference(pair, batch):
    (student, teacher), method = pair, rdd()

    def loss(**moved):
        return sum(method(student | moved, teacher, batch).values())

    neck = student["neck"].requires_grad_()
    loss().backward()
    direction = torch.randn(neck.shape, dtype=neck.dtype)
    up, down = (loss(neck=neck.detach() + e * direction).item() for e in (1e-6, -1e-6))
    assert (neck.grad * direction).sum().item() == pytest.approx((up - down) / 2e-6, rel=1e-4)


def test_few_anchors_are_enough(pair, batch):
    found = rdd(proposals=5000)(*pair, batch)
    assert all(x.isfinite() for x in found.values())

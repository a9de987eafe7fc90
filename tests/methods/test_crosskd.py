"""The student through the teacher's frozen head, against a loop over anchors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.errors import NotApplicable, UsageError
from kdbench.methods.crosskd import CrossKD, restandardised
from kdbench.ops.anchors import on_objects
from kdbench.training.conformance import tiny_scene
from tests.methods.frozen import network

STUDENT, TEACHER = network(64).double(), network(16).double()
SCENE = tiny_scene(TEACHER.point_range)


@pytest.fixture
def necks(generator):
    height, width = TEACHER.head.anchors.shape[:2]

    def neck(network):
        shape = 2, network.taps["neck"].channels, height, width
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {"neck": neck(STUDENT).requires_grad_()}, shown(neck(TEACHER))


def shown(neck):
    """A teacher's taps whose head is as sure of itself as a trained one's."""
    heads = TEACHER.head(neck)
    return {"neck": neck, "head.cls": heads["cls"] * 3 + 3, "head.box": heads["box"] * 50}


def crosskd(**options):
    torch.manual_seed(0)
    return CrossKD(STUDENT.taps, TEACHER.taps, **options).double()


def smooth_l1(x):
    x = abs(x)
    return 4.5 * x * x if x < 1 / 9 else x - 1 / 18


def test_equals_a_loop_over_anchors(necks):
    method = crosskd(cls_weight=2.0, box_weight=3.0, beta=2.0)
    student, teacher = necks
    found = method(student, teacher, SCENE)
    x, target = (t.detach().numpy() for t in (method.adapter(student["neck"]), teacher["neck"]))
    for channel in range(x.shape[1]):
        own, other = x[:, channel], target[:, channel]
        normal = (own - own.mean()) / own.std(ddof=1)
        x[:, channel] = normal * other.std(ddof=1) + other.mean()
    crossed = TEACHER.head(torch.from_numpy(x))
    cls = box = 0.0
    for place in np.ndindex(*crossed["cls"].shape[:4]):
        p_t = teacher["head.cls"][place].sigmoid().tolist()
        for t, s in zip(p_t, crossed["cls"][place].sigmoid().tolist(), strict=True):
            cls -= (t - s) ** 2 * (t * math.log(s) + (1 - t) * math.log(1 - s))
        difference = (crossed["box"][place] - teacher["head.box"][place]).tolist()
        difference[6] = math.sin(difference[6])
        box += max(p_t) * sum(map(smooth_l1, difference))
    spec = TEACHER.taps["head.box"]
    objects = int(on_objects(teacher["head.box"], spec, SCENE.boxes, 0.5).sum())
    assert objects > 1
    assert found["cls"].item() == pytest.approx(2 * cls / objects, rel=1e-4)
    assert found["box"].item() == pytest.approx(3 * box / objects, rel=1e-4)


def test_equal_networks_and_an_identity_cost_next_to_nothing(necks):
    _, teacher = necks
    heads = TEACHER.head(teacher["neck"])
    own = {"neck": teacher["neck"], **{f"head.{k}": v for k, v in heads.items()}}
    method = CrossKD(TEACHER.taps, TEACHER.taps).double()
    torch.nn.init.zeros_(method.adapter.map.bias)
    torch.nn.init.dirac_(method.adapter.map.weight)
    assert sum(method(own, own, SCENE).values()) < 1e-3
    assert restandardised(own["neck"], own["neck"]).sub(own["neck"]).abs().max() < 1e-5


def test_gradients_pass_through_the_head_which_is_none_of_its_own(necks):
    method = crosskd()
    sum(method(*necks, SCENE).values()).backward()
    assert necks[0]["neck"].grad.abs().sum() > 0
    assert {name.split(".")[0] for name in method.state_dict()} == {"adapter"}
    assert all(p.grad is None for p in TEACHER.parameters())


@pytest.mark.parametrize("name", ["pointpillars", "centerpoint"])
def test_a_random_head_has_the_weights_of_the_teachers_in_another_order(name):
    teacher = network(16, name)
    random = CrossKD(teacher.taps, teacher.taps, head="random").apply_head.__self__
    pairs = list(zip(random.parameters(), teacher.head.parameters(), strict=True))
    moved = [not torch.equal(new, old) for new, old in pairs]
    assert moved == [old.dim() > 1 for _, old in pairs]
    assert all(torch.equal(new.flatten().sort()[0], old.flatten().sort()[0]) for new, old in pairs)
    assert not any(p.requires_grad for p in random.parameters())


def test_what_it_cannot_do_is_said():
    with pytest.raises(UsageError, match="head must be teacher or random"):
        crosskd(head="student")
    bare = TEACHER.taps | {"neck": replace(TEACHER.taps["neck"], apply=None)}
    with pytest.raises(NotApplicable, match="apply"):
        CrossKD(STUDENT.taps, bare)


def test_a_batch_without_objects_has_a_finite_loss(necks):
    empty = replace(SCENE, boxes=[b[:0] for b in SCENE.boxes], labels=[x[:0] for x in SCENE.labels])
    assert all(term.isfinite() for term in crosskd()(*necks, empty).values())

"""Softened labels: what is asked of the student, and how soft it is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.errors import NotApplicable
from kdbench.methods.smooth import LabelSmoothing, binary_entropy, softness
from kdbench.ops.heads import focal
from kdbench.training.conformance import tiny_scene
from tests.detectors.forms import FORMS, RANGE, build


@pytest.fixture
def asked(generator):
    """Targets and weights (2, 8, 12, 6, 3): some of the scores count, few are asked for 1."""
    targets = (torch.rand(2, 8, 12, 6, 3, generator=generator) < 0.02).double()
    weights = torch.rand(targets.shape, generator=generator).double()
    return targets, weights * (weights > 0.3)


@pytest.fixture
def smooth(student_specs, teacher_specs, asked):
    spec = replace(student_specs["head.cls"], asked=lambda taps, batch: asked)
    return LabelSmoothing({"head.cls": spec}, teacher_specs)


def unsure(taps, confidence=4.0):
    """Scores about which a teacher is more or less sure."""
    return taps | {"head.cls": confidence * taps["head.cls"] - 2 * confidence}


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def asks(target, p, weight):
    """The focal loss of one score."""
    return -weight * abs(target - p) ** 2 * (target * math.log(p) + (1 - target) * math.log(1 - p))


def test_equals_a_loop_over_scores(smooth, student, teacher, batch, asked):
    teacher = unsure(teacher)
    found = smooth(student, teacher, batch)["smooth"].item()
    e = smooth.logs["softness"].item()
    total = 0.0
    for place in np.ndindex(*asked[0].shape):
        p, t, w = (x[place].item() for x in (student["head.cls"].sigmoid(), *asked))
        if w:
            total += asks(1 - e if t else e / 3, p, w) - asks(t, p, w)
    assert found == pytest.approx(total, rel=1e-6)


def test_the_targets_have_the_mean_entropy_of_the_teachers_scores(
    smooth, student, teacher, batch, asked
):
    teacher = unsure(teacher)
    smooth(student, teacher, batch)
    e = smooth.logs["softness"].item()
    counted = asked[1] > 0
    ones = (asked[0] * counted).sum().item()
    zeros = counted.sum().item() - ones
    theirs = [entropy(p) for p in teacher["head.cls"].sigmoid()[counted].tolist()]
    assert 0.01 < e < 0.49
    assert ones * entropy(1 - e) + zeros * entropy(e / 3) == pytest.approx(sum(theirs), rel=1e-6)


def test_with_the_detection_loss_the_least_is_at_the_softened_targets(
    smooth, student, teacher, batch, asked
):
    teacher = unsure(teacher)
    smooth(student, teacher, batch)
    e = smooth.logs["softness"]
    soft = torch.where(asked[0] == 1, 1 - e, e / 3)
    there = {"head.cls": soft.logit().requires_grad_()}
    total = focal(there["head.cls"], *asked) + smooth(there, teacher, batch)["smooth"]
    total.backward()
    assert total < focal(there["head.cls"], *asked)
    assert there["head.cls"].grad.abs().max() < 1e-9
    for shift in (-0.1, 0.1):
        moved = {"head.cls": there["head.cls"].detach() + shift}
        assert focal(moved["head.cls"], *asked) + smooth(moved, teacher, batch)["smooth"] > total


def test_a_sure_teacher_softens_nothing_and_an_unsure_one_to_the_limit(
    smooth, student, teacher, batch
):
    sure = {"head.cls": torch.full_like(teacher["head.cls"], -60.0)}
    assert abs(smooth(student, sure, batch)["smooth"]) < 1e-6
    assert smooth.logs["softness"] < 1e-8
    smooth(student, {"head.cls": torch.zeros_like(teacher["head.cls"])}, batch)
    assert smooth.logs["softness"].item() == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [1, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_softness_is_the_root(classes, share):
    share = torch.tensor(share, dtype=torch.float64)
    for e in (1e-4, 0.03, 0.3):
        soft = torch.tensor([1 - e, e / classes], dtype=torch.float64)
        of_one, of_zero = binary_entropy(soft)
        mean = share * of_one + (1 - share) * of_zero
        assert softness(mean, share, classes).item() == pytest.approx(e, rel=1e-4)


def test_a_batch_of_which_no_score_counts_costs_nothing(smooth, student, teacher, batch, asked):
    asked[1].zero_()
    assert smooth(student, teacher, batch)["smooth"] == 0


def test_a_head_that_does_not_say_what_it_asks_is_not_applicable(student_specs, teacher_specs):
    with pytest.raises(NotApplicable, match="does not say what is `asked`"):
        LabelSmoothing(student_specs, teacher_specs)


@pytest.mark.parametrize("form", FORMS)
def test_with_its_own_loss_a_head_is_asked_for_soft_targets_alone(form):
    network, batch = build(form), tiny_scene(RANGE)
    taps = network(network.prepare(batch))
    method = LabelSmoothing(network.taps, network.taps)
    losses = network.loss(taps, batch)
    own = losses["point_cls" if form == "pointrcnn" else "cls"]
    targets, weights = network.taps["head.cls"].asked(taps, batch)
    term = method(taps, taps, batch)["smooth"]
    e = method.logs["softness"]
    soft = targets * (1 - e) + (1 - targets) * e / 3
    assert 0 < targets.sum() < 0.1 * targets.numel()
    assert (own + term).item() == pytest.approx(
        focal(taps["head.cls"], soft, weights).item(), rel=1e-4
    )

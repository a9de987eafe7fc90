"""Localisation distillation against torch's Gaussians, anchor by anchor."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from kdbench.dataset import Batch
from kdbench.methods.ld import LocalisationDistillation
from kdbench.taps import Kind, Rows, TapSpec

HEIGHT, WIDTH, SIZES = 8, 12, ((3.0, 1.0), (1.0, 3.0), (0.8, 0.8))
BOXES = [[[3.2, 4.4, 0, 2.6, 1.2, 1, 0.0]], []]


def anchors():
    result = torch.zeros(HEIGHT, WIDTH, len(SIZES), 7, dtype=torch.float64)
    result[..., 0] = (torch.arange(WIDTH) + 0.5).view(1, -1, 1)
    result[..., 1] = (torch.arange(HEIGHT) + 0.5).view(-1, 1, 1)
    result[..., 3:5] = torch.tensor(SIZES)
    return result


def scene(boxes=BOXES):
    frames = [torch.tensor(b).view(-1, 7) for b in boxes]
    return Batch(["0", "1"], torch.zeros(0, 5), frames, [])


def ld(**options):
    specs = {"head.box": TapSpec(Kind.BOX, 7, 1.0, decode=lambda codes: codes + anchors())}
    return LocalisationDistillation(specs, specs, **options)


def heads(generator):
    shape = (2, HEIGHT, WIDTH, len(SIZES))
    return {
        "head.cls": 2 * torch.randn(*shape, 3, generator=generator, dtype=torch.float64) - 4,
        "head.box": 0.3 * torch.randn(*shape, 7, generator=generator, dtype=torch.float64),
    }


@pytest.fixture
def student(generator):
    return heads(generator)


@pytest.fixture
def teacher(generator):
    taps = heads(generator)
    taps["head.cls"][0, 4, 3, 0] = 2.0  # sure of the box's best anchor: near, but main
    return taps


def iou(a, b):
    shared = 1.0
    for i in (0, 1):
        high = min(a[i] + a[i + 3] / 2, b[i] + b[i + 3] / 2)
        shared *= max(0.0, high - max(a[i] - a[i + 3] / 2, b[i] - b[i + 3] / 2))
    return shared / (a[3] * a[4] + b[3] * b[4] - shared)


def regions(teacher, score, gamma, boxes=BOXES):
    """Places (frame, row, column, anchor) of the main and of the valuable anchors."""
    main, near = set(), set()
    for place in map(tuple, torch.ones(2, HEIGHT, WIDTH, len(SIZES)).nonzero().tolist()):
        if max(teacher["head.cls"][place].sigmoid()) >= score:
            main.add(place)
        for box in boxes[place[0]]:
            best = max(iou(a, box) for a in anchors().view(-1, 7).tolist())
            if iou(anchors()[place[1:]].tolist(), box) > gamma * best:
                near.add(place)
    return main, near - main


def gaussian_kl(student, teacher, places, sigma):
    total = 0.0
    for place in places:
        codes_s, codes_t = student["head.box"][place].clone(), teacher["head.box"][place].clone()
        codes_s[6] = torch.sin(codes_s[6] - codes_t[6])
        codes_t[6] = 0
        total += kl_divergence(Normal(codes_t, sigma), Normal(codes_s, sigma)).sum().item()
    return total / len(places)


@pytest.mark.parametrize("score, gamma, sigma", [(0.3, 0.25, 0.5), (0.5, 0.6, 0.1)])
def test_regions_equal_the_kl_of_gaussians(student, teacher, score, gamma, sigma):
    main, valuable = regions(teacher, score, gamma)
    assert valuable and (0, 4, 3, 0) in main
    method = ld(score=score, gamma=gamma, sigma=sigma, main=2.0, valuable=3.0)
    terms = method(student, teacher, scene())
    assert set(terms) == {"main", "valuable"}
    assert terms["main"].item() == pytest.approx(2 * gaussian_kl(student, teacher, main, sigma))
    expected = 3 * gaussian_kl(student, teacher, valuable, sigma)
    assert terms["valuable"].item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_classes_are_distilled_in_both_regions_when_asked(student, teacher, temperature):
    main, valuable = regions(teacher, 0.3, 0.25)
    total = 0.0
    for place in main | valuable:
        p_t, p_s = (
            Bernoulli(logits=x["head.cls"][place] / temperature) for x in (teacher, student)
        )
        total += temperature**2 * kl_divergence(p_t, p_s).sum().item()
    terms = ld(cls=5.0, temperature=temperature)(student, teacher, scene())
    assert terms["cls"].item() == pytest.approx(5 * total / len(main | valuable))


def test_an_offset_costs_the_square_of_it_in_sigmas(teacher):
    moved = teacher | {"head.box": teacher["head.box"].clone()}
    moved["head.box"][..., 0] += 0.6
    terms = ld(sigma=0.3, main=1.0, valuable=1.0)(moved, teacher, scene())
    for name in ("main", "valuable"):
        assert terms[name].item() == pytest.approx(0.6**2 / (2 * 0.3**2))


def test_equal_heads_cost_nothing(teacher):
    assert sum(ld(cls=1.0)(teacher, teacher, scene()).values()).item() == 0


def test_half_a_turn_costs_nothing(teacher):
    turned = teacher | {"head.box": teacher["head.box"].clone()}
    turned["head.box"][..., 6] += math.pi
    assert sum(ld()(turned, teacher, scene()).values()).item() < 1e-12


def test_only_the_regions_get_gradients(student, teacher):
    main, valuable = regions(teacher, 0.3, 0.25)
    student["head.box"].requires_grad_()
    sum(ld()(student, teacher, scene()).values()).backward()
    touched = student["head.box"].grad.abs().sum(-1).nonzero().tolist()
    assert set(map(tuple, touched)) == main | valuable


def test_without_boxes_and_with_an_unsure_teacher_the_loss_is_zero(student, teacher):
    teacher["head.cls"] = torch.full_like(teacher["head.cls"], -9.0)
    student = {name: x.requires_grad_() for name, x in student.items()}
    loss = sum(ld(cls=1.0)(student, teacher, scene([[], []])).values())
    loss.backward()
    assert loss == 0
    assert not student["head.box"].grad.any()


BINS = (3, 2)


def points_taps(generator):
    """Two frames of four points; two softmaxes, and three channels that are no bins."""
    positions = torch.tensor([[0.1, 0, 0], [0.9, 0, 0], [5, 5, 0], [6, 6, 0]]).double().repeat(2, 1)
    place = torch.cartesian_prod(torch.arange(2), torch.arange(1), torch.arange(4))
    return {
        "points": Rows(torch.zeros(8, 2), place, torch.ones(8), positions),
        "head.cls": torch.randn(2, 4, 1, 1, 3, generator=generator).double() - 6,
        "head.bins": torch.randn(2, 4, 1, 1, 8, generator=generator).double(),
    }


def test_bins_equal_the_kl_of_categoricals_over_sure_points_and_points_in_boxes(generator):
    student, teacher = points_taps(generator), points_taps(generator)
    teacher["head.cls"][1, 3, 0, 0, 1] = 1.0  # sure
    specs = {"head.bins": TapSpec(Kind.BINS, 8, bins=BINS)}
    method = LocalisationDistillation(specs, specs, main=2.0, valuable=3.0)
    box = [[0.5, 0, 0, 1, 1, 1, 0.0]]  # holds the first two points of the first frame
    terms = method(student, teacher, scene([box, []]))

    def distance(place):
        total = 0.0
        for z_s, z_t in zip(
            *(taps["head.bins"][place][:5].split(BINS) for taps in (student, teacher)), strict=True
        ):
            p_t, p_s = (Categorical(logits=z / 10) for z in (z_t, z_s))
            total += 100 * kl_divergence(p_t, p_s).item()
        return total

    assert terms["main"].item() == pytest.approx(2 * distance((1, 3, 0, 0)))
    expected = 3 * (distance((0, 0, 0, 0)) + distance((0, 1, 0, 0))) / 2
    assert terms["valuable"].item() == pytest.approx(expected)
    assert sum(method(teacher, teacher, scene([box, []])).values()) == 0


def test_residuals_of_points_are_gaussians_too(generator):
    student, teacher = points_taps(generator), points_taps(generator)
    codes = {"head.residuals": TapSpec(Kind.CODES, 8)}
    for taps in (student, teacher):
        taps["head.residuals"] = taps.pop("head.bins")
    box = [[0.5, 0, 0, 1, 1, 1, 0.0]]
    method = LocalisationDistillation(codes, codes, sigma=0.5, valuable=3.0)
    terms = method(student, teacher, scene([box, []]))
    error = (student["head.residuals"] - teacher["head.residuals"])[0, :2]
    expected = 3 * error.square().sum().item() / (2 * 0.5**2) / 2
    assert terms["valuable"].item() == pytest.approx(expected)
    assert terms["main"] == 0

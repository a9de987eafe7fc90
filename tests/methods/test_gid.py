"""General instances against a loop with shapely's overlaps, and the terms on them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import box as rectangle
from torch.autograd import gradcheck

from kdbench.dataset import Batch
from kdbench.methods import gid
from kdbench.methods.gid import GeneralInstanceDistillation, relation
from kdbench.ops.regions import pool_boxes
from kdbench.taps import Kind, TapSpec

HEIGHT, WIDTH, ANCHORS, K, SIZE = 8, 12, 6, 4, 3
BATCH = Batch(["0", "1"], torch.zeros(0, 5), [torch.zeros(0, 7)] * 2, [torch.zeros(0)] * 2)


def decode(codes):
    """Boxes around the cells' centres, all sizes near 1.5 m x 1 m."""
    base = torch.zeros(HEIGHT, WIDTH, ANCHORS, 7, dtype=codes.dtype)
    base[..., 0] = (torch.arange(WIDTH) + 0.5).view(1, -1, 1)
    base[..., 1] = (torch.arange(HEIGHT) + 0.5).view(-1, 1, 1)
    size = torch.tensor([1.5, 1.0, 1.0], dtype=codes.dtype) * codes[..., 3:6].exp()
    return torch.cat([(base + codes)[..., :3], size, codes[..., 6:]], dim=-1)


def with_head(specs):
    neck = replace(specs["neck"], cell=1.0)
    return specs | {"neck": neck, "head.box": TapSpec(Kind.BOX, 7, 1.0, decode=decode)}


@pytest.fixture(autouse=True)
def codes(student, teacher, generator):
    for taps in (student, teacher):
        shape = (2, HEIGHT, WIDTH, ANCHORS, 7)
        taps["head.box"] = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def make(student_specs, teacher_specs):
    def make(student_specs=student_specs, teacher_specs=teacher_specs, **options):
        torch.manual_seed(0)
        pair = (with_head(student_specs), with_head(teacher_specs))
        return GeneralInstanceDistillation(*pair, **{"k": K, "size": SIZE} | options).double()

    return make


# Selection


def overlap(a, b):
    a, b = (
        affinity.rotate(
            rectangle(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2), yaw, use_radians=True
        )
        for x, y, _, dx, dy, _, yaw in (a, b)
    )
    return a.intersection(b).area / a.union(b).area


def selected(student, teacher, frame):
    """Anchor indices and boxes, one anchor at a time."""
    p_s, p_t = (x["head.cls"][frame].sigmoid().reshape(-1, 3).tolist() for x in (student, teacher))
    boxes_s, boxes_t = (
        decode(x["head.box"])[frame].reshape(-1, 7).tolist() for x in (student, teacher)
    )
    gap = [
        max(abs(a - b) for a, b in zip(s, t, strict=True)) for s, t in zip(p_s, p_t, strict=True)
    ]
    kept = []
    for i in sorted(range(len(gap)), key=lambda i: -gap[i]):
        box = boxes_t[i] if max(p_t[i]) > max(p_s[i]) else boxes_s[i]
        if len(kept) < K and all(overlap(box, other) <= 0.3 for _, other in kept):
            kept.append((i, box))
    return [i for i, _ in kept], torch.tensor([b for _, b in kept], dtype=torch.float64)


def test_general_instances_equal_a_loop(make, student, teacher):
    anchors, boxes = make()._general_instances(student, teacher)
    for frame in (0, 1):
        expected, expected_boxes = selected(student, teacher, frame)
        assert anchors[frame].tolist() == expected
        torch.testing.assert_close(boxes[frame], expected_boxes)


def test_both_networks_give_boxes(make, student, teacher):
    """The surer network gives the box, be it the student."""
    for taps in (student, teacher):
        taps["head.cls"] = torch.full_like(taps["head.cls"], -3.0)
    teacher["head.cls"][0, 2, 3, 1, 0] = 4.0  # the teacher alone sees this
    student["head.cls"][0, 6, 9, 2, 1] = 3.0  # and the student this
    _, boxes = make(k=2)._general_instances(student, teacher)
    torch.testing.assert_close(boxes[0][0], decode(teacher["head.box"])[0, 2, 3, 1])
    torch.testing.assert_close(boxes[0][1], decode(student["head.box"])[0, 6, 9, 2])


def test_fewer_instances_than_k(make, student, teacher):
    for taps in (student, teacher):  # one huge box everywhere
        taps["head.box"] = torch.zeros_like(taps["head.box"])
        taps["head.box"][..., 3:5] = 5.0
    anchors, _ = make()._general_instances(student, teacher)
    assert [len(a) for a in anchors] == [1, 1]
    terms = make()(student, teacher, BATCH)
    assert terms["relation"] == 0  # no pair
    assert all(term.isfinite() for term in terms.values())


def test_only_candidates_enter_suppression(make, student, teacher, monkeypatch):
    monkeypatch.setattr(gid, "CANDIDATES", 2)
    anchors, _ = make()._general_instances(student, teacher)
    assert all(1 <= len(a) <= 2 for a in anchors)


# Terms


def pooled(method, taps, frame, adapted):
    """Features (k, SIZE, SIZE, C) as numpy."""
    spec = method.student_specs["neck"]
    boxes = method._general_instances(*taps)[1][frame]
    x = pool_boxes(
        taps[0 if adapted else 1]["neck"][frame : frame + 1], [boxes], spec, SIZE
    ).numpy()
    if adapted:
        weight, bias = (p.detach().numpy() for p in method.adapter.parameters())
        x = x @ weight[:, :, 0, 0].T + bias
    return x


def feature_loop(method, taps):
    errors = []
    for frame in (0, 1):
        difference = pooled(method, taps, frame, True) - pooled(method, taps, frame, False)
        errors += [(cell**2).sum() for cell in difference.reshape(-1, difference.shape[-1])]
    return np.mean(errors)


def relation_loop(f_s, f_t):
    def distances(f):
        d = {(i, j): np.linalg.norm(f[i] - f[j]) for i, j in np.ndindex(len(f), len(f)) if i != j}
        mean = np.mean(list(d.values()))
        return {pair: value / mean for pair, value in d.items()}

    d_s, d_t = distances(f_s), distances(f_t)
    gaps = [abs(d_s[pair] - d_t[pair]) for pair in d_s]
    return np.mean([0.5 * g * g if g < 1 else g - 0.5 for g in gaps])


def logit_loop(method, taps):
    anchors, total, count = method._general_instances(*taps)[0], 0.0, 0
    for frame in (0, 1):
        for i in anchors[frame].tolist():
            z_s, z_t = (x["head.cls"][frame].reshape(-1, 3)[i].tolist() for x in taps)
            for s, t in zip(z_s, z_t, strict=True):
                p, q = 1 / (1 + math.exp(-t)), 1 / (1 + math.exp(-s))
                total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            codes = [x["head.box"][frame].reshape(-1, 7)[i].numpy() for x in taps]
            difference = codes[0] - codes[1]
            total += np.abs(difference[:6]).sum() + abs(math.sin(difference[6]))
            count += 1
    return total / count


def test_terms_equal_loops(make, student, teacher):
    method, taps = make(feature=2.0, relation=3.0, logit=4.0), (student, teacher)
    terms = method(student, teacher, BATCH)
    assert terms["feature"].item() == pytest.approx(2 * feature_loop(method, taps))
    relations = [
        relation_loop(*(pooled(method, taps, frame, a).reshape(K, -1) for a in (True, False)))
        for frame in (0, 1)
    ]
    assert terms["relation"].item() == pytest.approx(3 * np.mean(relations))
    assert terms["logit"].item() == pytest.approx(4 * logit_loop(method, taps))


@pytest.mark.parametrize(
    "variant, names", [("feature", {"feature", "relation"}), ("logit", {"logit"})]
)
def test_a_variant_is_a_part_of_all(make, student, teacher, variant, names):
    everything = make()(student, teacher, BATCH)
    assert set(everything) == {"feature", "relation", "logit"}
    part = make(variant=variant)(student, teacher, BATCH)
    assert part == {name: everything[name] for name in names}


def test_the_published_selection_is_the_default(student_specs, teacher_specs):
    method = GeneralInstanceDistillation(student_specs, teacher_specs)
    assert (method.variant, method.k, method.nms) == ("all", 10, 0.3)


@pytest.mark.parametrize("variant", GeneralInstanceDistillation.variants)
def test_equal_networks_cost_nothing(make, teacher, teacher_specs, variant):
    method = make(teacher_specs, teacher_specs, variant=variant)
    method.share_adapters()
    terms = method(teacher, teacher, BATCH)
    assert sum(terms.values()).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("variant", GeneralInstanceDistillation.variants)
def test_student_and_adapter_learn(make, student, teacher, variant):
    method = make(variant=variant)
    learned = {"feature": ["neck"], "logit": ["head.cls", "head.box"]}
    learned["all"] = learned["feature"] + learned["logit"]
    for name in learned[variant]:
        student[name].requires_grad_()
    sum(method(student, teacher, BATCH).values()).backward()
    assert all(student[name].grad.any() for name in learned[variant])
    assert all(p.grad.any() for p in method.parameters())


# Relation


def features(k, seed):
    return torch.randn(k, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_relation_does_not_see_scale_shift_or_rotation():
    f_s, f_t = features(5, 0), features(5, 1)
    turn = torch.linalg.qr(features(4, 2)).Q
    torch.testing.assert_close(relation(3 * f_s @ turn + 7, f_t), relation(f_s, f_t))


def test_relation_has_the_gradient_of_finite_differences():
    f_t = features(4, 1)
    assert gradcheck(lambda f: relation(f, f_t), features(4, 0).requires_grad_())


@pytest.mark.parametrize("k", [1, 3])
def test_relation_of_instances_that_coincide_is_finite(k):
    f_s = torch.ones(k, 4, requires_grad=True)
    loss = relation(f_s, torch.ones(k, 4))
    loss.backward()
    assert loss == 0
    assert f_s.grad.isfinite().all()

"""Anchors, the box code and the matching, against closed forms, shapely and plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate
from shapely.geometry import box as rectangle

from kdbench.classes import ObjectClass
from kdbench.detectors.layers.anchors import (
    BACKGROUND,
    IGNORED,
    KITTI_ANCHORS,
    AnchorClass,
    anchor_class,
    decode,
    encode,
    heading_bin,
    make_anchors,
    match,
    set_heading,
)
from kdbench.errors import UsageError
from kdbench.ops.bev_iou import aligned_footprints, aligned_iou

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -4.0, -3.0, 8.0, 4.0, 1.0)


def random_boxes(n, seed=0, spread=4.0):
    rng = np.random.default_rng(seed)
    low = [4 - spread, -spread, -2, 0.5, 0.5, 1, -4]
    high = [4 + spread, spread, 0, 4.5, 2.5, 2, 4]
    return torch.from_numpy(rng.uniform(low, high, (n, 7)).astype(np.float32))


# Anchors


def test_anchors_stand_at_the_centres_of_their_cells():
    anchors = make_anchors(CLASSES, RANGE, height=4, width=8)
    assert anchors.shape == (4, 8, 6, 7)
    for row, column in np.ndindex(4, 8):
        at = anchors[row, column]
        assert (at[:, 0] == column + 0.5).all()
        assert (at[:, 1] == -3 + 2 * row).all()


def test_each_class_has_its_size_at_its_height_in_two_headings():
    anchors = make_anchors(CLASSES, RANGE, height=2, width=3).view(2, 3, 3, 2, 7)
    for i, name in enumerate(CLASSES):
        kind = KITTI_ANCHORS[name]
        mine = anchors[:, :, i]
        torch.testing.assert_close(mine[..., 3:6], torch.tensor(kind.size).expand(2, 3, 2, 3))
        bottom = mine[..., 2] - mine[..., 5] / 2
        torch.testing.assert_close(bottom, torch.full_like(bottom, kind.bottom))
    headings = torch.tensor([0, math.pi / 2]).expand(2, 3, 3, 2)
    torch.testing.assert_close(anchors[..., 6], headings)


def test_the_published_thresholds():
    thresholds = {n: (a.matched, a.unmatched) for n, a in KITTI_ANCHORS.items()}
    assert thresholds == {"Car": (0.6, 0.45), "Pedestrian": (0.5, 0.35), "Cyclist": (0.5, 0.35)}


def test_a_class_without_anchors_is_refused():
    with pytest.raises(UsageError, match="no KITTI class 'Pedestrians'; there are: car, pedes"):
        make_anchors(("Car", "Pedestrians"), RANGE, 2, 2)
    with pytest.raises(UsageError, match="class 'Tram' has no size and bottom"):
        make_anchors(("Car", ObjectClass("Tram", size=(8.0, 2.5, 3.5))), RANGE, 2, 2)


@pytest.mark.parametrize(
    ("overlap", "matched", "unmatched"), [(0.8, 0.6, 0.45), (0.4, 0.4, 0.25), (0.2, 0.2, 0.1)]
)
def test_thresholds_follow_the_overlap_of_a_match(overlap, matched, unmatched):
    found = anchor_class(ObjectClass("Tram", (8.0, 2.5, 3.5), -1.7, overlap))
    assert (found.matched, found.unmatched) == (matched, unmatched)


# Box code

place, size = st.floats(-80, 80), st.floats(0.4, 20)  # decode stops at 54 times the anchor
box = st.tuples(place, place, st.floats(-5, 5), size, size, size, st.floats(-3.2, 3.2))


@settings(max_examples=100, deadline=None)
@given(box, box)
def test_decode_inverts_encode(box, anchor):
    box, anchor = (torch.tensor([x], dtype=torch.float64) for x in (box, anchor))
    torch.testing.assert_close(decode(encode(box, anchor), anchor), box, rtol=1e-9, atol=1e-9)


def test_the_code_is_that_of_second():
    anchor = torch.tensor([[10.0, 5, -1, 3, 4, 2, math.pi / 2]])
    box = torch.tensor([[11.0, 3, -0.5, 6, 4, 1, 2.0]])
    offsets = [1 / 5, -2 / 5, 0.25, math.log(2), 0, math.log(0.5), 2 - math.pi / 2]
    torch.testing.assert_close(encode(box, anchor), torch.tensor([offsets]))


def test_an_anchor_has_the_code_zero():
    anchors = make_anchors(CLASSES, RANGE, 2, 2)
    assert not encode(anchors, anchors).any()


def test_a_wild_code_gives_a_finite_box():
    anchor = make_anchors(("Car",), RANGE, 1, 1).view(-1, 7)
    assert decode(torch.full_like(anchor, 1000.0), anchor).isfinite().all()


# Heading


@settings(max_examples=200, deadline=None)
@given(st.floats(-10, 10), st.integers(-3, 3))
def test_the_bin_recovers_a_heading_known_up_to_half_turns(yaw, turns):
    border = abs((yaw + math.pi / 4) % math.pi)
    if min(border, math.pi - border) < 1e-6:
        return  # which side of the border rounding decides
    yaw = torch.tensor([yaw], dtype=torch.float64)
    recovered = set_heading(yaw + turns * math.pi, heading_bin(yaw))
    assert -math.pi <= recovered < math.pi
    torch.testing.assert_close(torch.cos(recovered), torch.cos(yaw), rtol=0, atol=1e-7)
    torch.testing.assert_close(torch.sin(recovered), torch.sin(yaw), rtol=0, atol=1e-7)


def test_opposite_headings_are_in_different_bins():
    yaw = torch.linspace(-math.pi, math.pi, 101)
    assert (heading_bin(yaw) != heading_bin(yaw + math.pi)).all()


@pytest.mark.parametrize("usual", [0, math.pi / 2, math.pi, -math.pi / 2])
def test_usual_headings_are_far_from_the_border(usual):
    near = usual + torch.linspace(-0.75, 0.75, 31)  # the border is at pi / 4 = 0.785
    assert len(heading_bin(near).unique()) == 1


# Overlap


@pytest.mark.parametrize("quarter", range(-3, 5))
@pytest.mark.parametrize("off", [-0.7, 0.0, 0.7])
def test_nearest_bev_turns_to_the_nearest_quarter(quarter, off):
    box = torch.tensor([[3.0, -2, 0, 4, 1.5, 1, quarter * math.pi / 2 + off]])
    flat = rectangle(3 - 2, -2 - 0.75, 3 + 2, -2 + 0.75)
    expected = rotate(flat, 90 * quarter).bounds
    torch.testing.assert_close(aligned_footprints(box)[0], torch.tensor(expected))


def test_aligned_iou_equals_shapely():
    a, b = aligned_footprints(random_boxes(20)), aligned_footprints(random_boxes(30, seed=1))
    iou = aligned_iou(a, b)
    assert (iou > 0).any() and (iou == 0).any()
    for i, j in np.ndindex(20, 30):
        p, q = rectangle(*a[i].tolist()), rectangle(*b[j].tolist())
        assert iou[i, j] == pytest.approx(p.intersection(q).area / p.union(q).area, abs=1e-5)


def test_boxes_without_area_have_no_overlap():
    nothing = torch.zeros(1, 4)
    assert aligned_iou(nothing, nothing) == 0


# Matching


def owners(anchors, boxes, kind):
    iou = aligned_iou(aligned_footprints(anchors), aligned_footprints(boxes))
    return match(iou, kind.matched, kind.unmatched)


def match_loop(anchors, boxes, kind):
    """SECOND's rule, one anchor at a time."""
    iou = aligned_iou(aligned_footprints(anchors), aligned_footprints(boxes)).tolist()
    best_of_box = [max(row[j] for row in iou) for j in range(len(boxes))]
    result = []
    for row in iou:
        best = max(row)
        is_best_of_a_box = any(v > 0 and v == best_of_box[j] for j, v in enumerate(row))
        if best >= kind.matched or is_best_of_a_box:
            result.append(row.index(best))
        else:
            result.append(IGNORED if best >= kind.unmatched else BACKGROUND)
    return result


def anchors_of(name, cell=0.5):
    cells = round(8 / cell)
    return make_anchors((name,), RANGE, cells, cells).view(-1, 7)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("seed", range(4))
def test_match_equals_a_loop(name, seed):
    boxes = random_boxes(5, seed)
    boxes[:, 3:6] = torch.tensor(KITTI_ANCHORS[name].size) * (0.7 + 0.15 * torch.arange(5)[:, None])
    found = owners(anchors_of(name), boxes, KITTI_ANCHORS[name])
    assert found.tolist() == match_loop(anchors_of(name), boxes, KITTI_ANCHORS[name])
    assert {BACKGROUND, IGNORED} < set(found.tolist())


def test_a_box_below_the_threshold_takes_all_its_best_anchors():
    anchors = anchors_of("Car", cell=1.0)
    tiny = torch.tensor([[4.0, 0, 0, 0.2, 0.2, 1, 0]])  # inside many anchors, equally small in each
    found = owners(anchors, tiny, KITTI_ANCHORS["Car"])
    iou = aligned_iou(aligned_footprints(anchors), aligned_footprints(tiny))[:, 0]
    assert iou.max() < 0.05
    assert (found >= 0).sum() > 1
    assert torch.equal(found >= 0, iou == iou.max())


def test_a_box_that_touches_no_anchor_takes_none():
    far = torch.tensor([[100.0, 100, 0, 4, 2, 1, 0]])
    assert (owners(anchors_of("Car"), far, KITTI_ANCHORS["Car"]) == BACKGROUND).all()


def test_without_boxes_all_is_background():
    found = owners(anchors_of("Car"), torch.zeros(0, 7), KITTI_ANCHORS["Car"])
    assert (found == BACKGROUND).all()


def test_thresholds_belong_to_the_upper_side():
    anchor = torch.tensor([[0.0, 0, 0, 4, 1, 1, 0]])
    half = torch.tensor([[0.0, 0, 0, 2, 1, 1, 0], [0, 0, 0, 4, 1, 1, 0]])  # IoU 0.5 and 1
    anchors = torch.cat([anchor, half])
    box = half[1:]
    at_matched = owners(anchors, box, AnchorClass((4, 1, 1), 0, matched=0.5, unmatched=0.2))
    at_unmatched = owners(anchors, box, AnchorClass((4, 1, 1), 0, matched=0.6, unmatched=0.5))
    assert at_matched.tolist() == [0, 0, 0]
    assert at_unmatched.tolist() == [0, IGNORED, 0]


def test_an_anchor_that_is_best_for_two_boxes_goes_to_the_one_it_overlaps_more():
    anchors = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0], [20, 0, 0, 4, 2, 1, 0]])
    near, nearer = [1.5, 0.0, 0, 4, 2, 1, 0], [0.5, 0.0, 0, 4, 2, 1, 0]
    for boxes, owner in (([near, nearer], 1), ([nearer, near], 0)):
        found = owners(anchors, torch.tensor(boxes), AnchorClass((4, 2, 1), 0, 0.9, 0.1))
        assert found.tolist() == [owner, BACKGROUND]

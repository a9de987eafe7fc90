"""Detections of which candidates alone are decoded, against decoding all."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.detectors.layers.nms_by_class import nms_by_class, nms_of_candidates
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou

LIMITS = (0.3, 0.2, 6, 5)  # least score, overlap, before, after


def scene(seed, count):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=generator) * torch.tensor([9.0, 9, 1, 4, 2, 2, 3])
    return boxes + 0.1, torch.rand(count, 3, generator=generator)


def one_by_one(boxes, scores, least, overlap, before, after):
    """Scores and labels of what is left, by a plain loop over sorted boxes."""
    found = []
    for label, of_class in enumerate(scores.T.tolist()):
        kept = []
        for i in sorted(range(len(boxes)), key=lambda i: -of_class[i])[:before]:
            rivals = bev_iou(boxes[[i]][:, BEV_COLUMNS], boxes[kept][:, BEV_COLUMNS])
            if of_class[i] >= least and not (rivals > overlap).any():
                kept.append(i)
        found += [(of_class[i], label) for i in kept]
    return sorted(found, key=lambda pair: -pair[0])[:after]


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_detections_are_those_of_a_plain_loop(seed, count):
    boxes, scores = scene(seed, count)
    found = nms_by_class(boxes, scores, *LIMITS)
    expected = one_by_one(boxes, scores, *LIMITS)
    assert list(zip(found.scores.tolist(), found.labels.tolist(), strict=True)) == expected


def test_only_the_best_of_a_class_are_decoded():
    boxes, scores = scene(0, 50)
    asked = []

    def decode(index):
        asked.append(index)
        return boxes[index]

    nms_of_candidates(decode, scores, *LIMITS)
    (index,) = asked  # once for all classes
    assert torch.equal(index.view(6, 3), scores.sort(dim=0, descending=True).indices[:6])

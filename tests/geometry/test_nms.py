"""Rotated NMS against a plain greedy loop over the IoU matrix."""

import numpy as np
import pytest
import torch

from kdbench.geometry.nms import HOST_BOXES, _suppress_on_device, rotated_nms
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou


def random_boxes(n, spread, seed=0):
    rng = np.random.default_rng(seed)
    low = [-spread, -spread, -1, 0.5, 0.5, 1, -4]
    high = [spread, spread, 1, 5, 3, 2, 4]
    boxes = rng.uniform(low, high, (n, 7))
    return torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(rng.random(n))


def greedy(boxes, scores, threshold, limit):
    iou = bev_iou(boxes[:, BEV_COLUMNS].numpy(), boxes[:, BEV_COLUMNS].numpy())
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou[i, k] <= threshold for k in kept):
            kept.append(i)
    return kept[:limit]


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.7])
@pytest.mark.parametrize("spread", [2, 12])
@pytest.mark.parametrize("limit", [1000, 7, 0])
def test_equals_the_greedy_loop(threshold, spread, limit):
    boxes, scores = random_boxes(120, spread)
    expected = greedy(boxes, scores.tolist(), threshold, limit)
    assert rotated_nms(boxes, scores, threshold, limit).tolist() == expected


@pytest.mark.parametrize("limit", [1000, 7])
def test_the_device_path_equals_the_greedy_loop(limit):
    boxes, scores = random_boxes(120, 4)
    order = scores.sort(descending=True).indices
    kept = _suppress_on_device(boxes[order][:, BEV_COLUMNS].double(), 0.1, limit)
    assert order[kept].tolist() == greedy(boxes, scores.tolist(), 0.1, limit)


@pytest.mark.cuda
@pytest.mark.parametrize("count", [500, HOST_BOXES + 100])  # of which the host sees all, or pairs
@pytest.mark.parametrize("spread", [2, 12])
def test_cuda_equals_cpu(spread, count):
    boxes, scores = random_boxes(count, spread)
    kept = rotated_nms(boxes.cuda(), scores.cuda(), 0.2, 100)
    assert kept.is_cuda
    assert kept.tolist() == rotated_nms(boxes, scores, 0.2, 100).tolist()


def test_ties_go_to_the_lowest_index():
    box = torch.tensor([0.0, 0, 0, 4, 2, 1.5, 0.3])
    apart = torch.stack([box + torch.tensor([10.0 * i, 0, 0, 0, 0, 0, 0]) for i in range(3)])
    boxes = torch.cat([apart, apart])
    scores = torch.tensor([0.5, 0.9, 0.5, 0.5, 0.9, 0.5])
    assert rotated_nms(boxes, scores, 0.5, 10).tolist() == [1, 0, 2]


def test_height_plays_no_part():
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0], [0, 0, 50, 4, 2, 1, 0]])
    assert rotated_nms(boxes, torch.tensor([0.1, 0.2]), 0.5, 10).tolist() == [1]


def test_a_box_at_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0], [2, 0, 0, 4, 2, 1, 0]])  # IoU 1/3
    scores = torch.tensor([0.9, 0.8])
    assert len(rotated_nms(boxes, scores, 1 / 3, 10)) == 2
    assert len(rotated_nms(boxes, scores, 0.33, 10)) == 1


def test_nothing_in_nothing_out():
    kept = rotated_nms(torch.zeros(0, 7), torch.zeros(0), 0.1, 10)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_takes_tensors_that_need_gradients():
    boxes, scores = random_boxes(10, 5)
    assert len(rotated_nms(boxes.requires_grad_(), scores.requires_grad_(), 0.1, 10))

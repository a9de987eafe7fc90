"""The detectors in every form, small enough for tests, and batches to try them on."""

import torch

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.detectors.centerpoint import CenterPoint
from kdbench.detectors.pointpillars import PointPillars
from kdbench.detectors.pointrcnn import PointRCNN
from kdbench.detectors.second import Second
from kdbench.training.conformance import tiny_scene

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -10.24, -3.0, 25.6, 10.24, 1.0)  # longer than wide: 40 pillars by 32

# Class, ratio of most tests, options.
FORMS = {
    "pointpillars": (PointPillars, 16, {"pillar_size": 0.64}),
    "second": (Second, 16, {"voxel_size": (0.32, 0.32, 0.1)}),
    "centerpoint-pillar": (CenterPoint, 16, {"form": "pillar", "pillar_size": 0.64}),
    "centerpoint-voxel": (CenterPoint, 16, {"form": "voxel", "voxel_size": (0.16, 0.16, 0.16)}),
    "pointrcnn": (
        PointRCNN, 64,
        {"points": 512, "roi_points": 32, "rois": 8, "proposals_train": 32, "proposals_test": 8},
    ),
}  # fmt: skip
WITH_MAPS = [form for form in FORMS if form != "pointrcnn"]


def build(form: str, /, ratio: float | None = None, seed: int = 0, **options) -> Detector:
    """A form's network with new weights."""
    torch.manual_seed(seed)
    kind, usual, small = FORMS[form]
    options = {"point_range": RANGE} | small | options
    return kind(CLASSES, usual if ratio is None else ratio, **options)


def settled(form: str) -> Detector:
    """A network with running statistics of real scenes, in evaluation mode."""
    network = build(form, bn_momentum=0.5)
    with torch.no_grad():
        for seed in range(3):
            network(network.prepare(tiny_scene(RANGE, seed=seed)))
    return network.eval()


def batch_of(points: torch.Tensor, frames: int) -> Batch:
    """A batch of points (n, 5) without objects."""
    boxes, labels = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
    return Batch([str(i) for i in range(frames)], points, [boxes] * frames, [labels] * frames)


def frame_of(batch: Batch, i: int) -> Batch:
    """Frame `i` of a batch as a batch of its own."""
    points = batch.points[batch.points[:, 0] == i].clone()
    points[:, 0] = 0
    return Batch([batch.ids[i]], points, [batch.boxes[i]], [batch.labels[i]])


def learn(network: Detector, batch: Batch, steps: int, rate: float = 3e-3) -> float:
    """Trains on one batch, with a rate that falls to 0; by how much the loss has fallen."""
    inputs = network.prepare(batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    totals = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        loss = sum(network.loss(network(inputs), batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    return totals[0] / totals[-1]

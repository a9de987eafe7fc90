"""Arrays of PointRCNN as OpenPCDet has them, for points in the order of a case.

They are computed in float64, as in `center_arrays.py`.
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kdbench.detectors.layers import rcnn_head
from kdbench.detectors.layers.roi_sampling import Rois
from kdbench.detectors.pointrcnn import PointInputs, PointRCNN
from kdbench.errors import DataError
from kdbench.imports.compare import View
from kdbench.imports.detections import FIRST_LABEL, detection_arrays
from kdbench.imports.network import Imported
from kdbench.ops.point_sampling import farthest_points

POOLED_STEP = 32  # of the points of a proposal, those that a case holds


def point_arrays(
    imported: Imported, points: np.ndarray, arrays: dict[str, np.ndarray]
) -> dict[str, View]:
    """All arrays of a network for points (n, 4). Raises DataError if they are not as many as it
    takes: then it draws some at random, and so does its project.
    """
    network = copy.deepcopy(imported.network).double()
    order = imported.settings.order
    if len(points) != network.points:
        raise DataError(f"a case of this network needs {network.points} points, not {len(points)}")
    inputs = _inputs(network, points)
    taps = network(inputs)
    xyz, rows = inputs.pyramid.xyz[0], taps["points"].features
    cls, codes = taps["head.cls"].flatten(2), taps["head.residuals"].flatten(2)
    boxes, scores, labels = network.head.boxes(cls, codes, xyz)
    labels = torch.tensor(order)[labels]
    found = {
        "point_features": rows,
        "point_cls": cls[0][:, torch.tensor(order).argsort()],
        "point_codes": codes[0],
        "point_boxes": boxes[0],
    }
    found |= {f"sampled{i}": x for i, x in enumerate(_sampled(inputs))}
    if "top_index" in arrays:
        index = torch.from_numpy(arrays["top_index"]).long()
        top = {"score": scores[0], "label": labels[0], "boxes": boxes[0]}
        found |= {f"top_{name}": x[index] for name, x in top.items()}
    if "rois" in arrays:
        found |= _second_stage(network, xyz, rows[None], scores, _rois(imported, arrays))
    views = {name: View(x.numpy()) for name, x in found.items()}
    if "boxes" in arrays:
        views |= _detections(network, taps, imported, arrays)
    return views


def _inputs(network: PointRCNN, points: np.ndarray) -> PointInputs:
    """One frame without labels, its points as they are; sampled in float32, then float64."""
    cloud = torch.from_numpy(np.array(points, np.float32))[None]
    xyz, reflectance = cloud[..., :3].contiguous(), cloud[..., 3:]
    pyramid, none = network.pyramid(xyz), torch.zeros(0, 7)
    pyramid = replace(
        pyramid,
        xyz=[level.double() for level in pyramid.xyz],
        above=[(index, weight.double()) for index, weight in pyramid.above],
    )
    filled, labels = torch.tensor([True]), none[:, 0].long()
    return PointInputs(pyramid, reflectance.double(), filled, [0], [none], [labels])


def _sampled(inputs: PointInputs) -> list[Tensor]:
    """Which points of the level below each level has kept."""
    levels = inputs.pyramid.xyz
    return [
        farthest_points(below.float(), above.shape[1])[0]
        for below, above in zip(levels, levels[1:], strict=False)
    ]


def _rois(imported: Imported, arrays: dict[str, np.ndarray]) -> Rois:
    """The proposals of a case."""
    boxes = torch.from_numpy(arrays["rois"]).double()
    labels = torch.from_numpy(arrays["roi_labels"]).long() - FIRST_LABEL["openpcdet"]
    own = torch.tensor(imported.settings.order).argsort()[labels]
    return Rois(boxes, own, boxes[:, 0], torch.zeros_like(own))


def _second_stage(network: PointRCNN, xyz, rows, scores, rois: Rois) -> dict[str, Tensor]:
    local, features, _ = rcnn_head.pool(rois, xyz, rows, scores, network.roi_points, network.margin)
    shared: list[Tensor] = []
    handle = network.rcnn.cls.register_forward_pre_hook(lambda _, x: shared.append(x[0]))
    cls, codes = network.rcnn(local, features)
    handle.remove()
    return {
        "pooled": local[:, ::POOLED_STEP],
        "roi_shared": shared[0],
        "roi_cls": cls[:, None],
        "roi_codes": codes,
        "roi_boxes": network.refined_boxes(codes, rois),
        "roi_score": cls.sigmoid()[:, None],
    }


def _detections(network: PointRCNN, taps, imported: Imported, arrays) -> dict[str, View]:
    """The second stage's boxes; each has one class, that of its proposal."""
    refined, classes = taps["_refinement"], len(imported.settings.classes)
    boxes = network.refined_boxes(refined.codes, refined.rois)
    scores = refined.cls.sigmoid()[:, None].expand(-1, classes)
    return detection_arrays(boxes, scores, imported.file.format, arrays)

"""Detects in a cloud with what `kdbench export` wrote: numpy and onnxruntime, nothing else.

python detect_onnx.py model.onnx cloud.bin     (float32: x, y, z, reflectance of each point)
"""

import json
import sys

import numpy as np
from boxes import decode, iou  # the file beside this one


def decorate(points, card):
    """Inputs of the graph from points (n, 4): features of each point, and its pillar."""
    low, high = np.split(np.array(card["point_range"], np.float32), 2)
    points = points[((points[:, :3] >= low) & (points[:, :3] < high)).all(axis=1)]
    size, grid = np.array(card["pillar_size"], np.float32), np.array(card["grid"])
    place = np.minimum(((points[:, :2] - low[:2]) / size).astype(np.int64), grid - 1)  # x, y
    cell = place[:, 1] * grid[0] + place[:, 0]
    if card["max_points"]:  # the first of each pillar
        order = np.argsort(cell, kind="stable")
        number = np.arange(len(cell)) - np.searchsorted(cell[order], cell[order])
        kept = np.sort(order[number < card["max_points"]])
        points, place, cell = points[kept], place[kept], cell[kept]
    counts = np.maximum(np.bincount(cell, minlength=grid.prod()), 1)
    sums = [np.bincount(cell, weights=axis, minlength=grid.prod()) for axis in points[:, :3].T]
    mean = (np.stack(sums) / counts).T[cell]
    centre = (place + np.float32(0.5)) * size + low[:2]
    features = np.hstack([points, points[:, :3] - mean, points[:, :2] - centre])
    return {"points": features.astype(np.float32), "cell": cell}


def choose(outputs, card):
    """Class, score and box of each detection, best first: suppression of each class by itself."""
    boxes, found = decode(outputs, card), []
    scores = 1 / (1 + np.exp(-outputs["cls"].reshape(len(boxes), -1)))
    for name, score in zip(card["classes"], scores.T, strict=True):
        kept = []
        for i in np.argsort(-score, kind="stable")[: card["nms_before"]]:
            if score[i] >= card["score_threshold"] and all(
                iou(boxes[i], boxes[j]) <= card["nms_threshold"] for j in kept
            ):
                kept.append(i)
        found += [(name, score[i], boxes[i]) for i in kept]
    return sorted(found, key=lambda one: -one[1])[: card["nms_after"]]


if __name__ == "__main__":
    import onnxruntime

    model, cloud = sys.argv[1:]
    with open(f"{model}.json") as file:
        card = json.load(file)
    inputs = decorate(np.fromfile(cloud, np.float32).reshape(-1, 4), card)
    names, session = card["outputs"], onnxruntime.InferenceSession(model)
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    for name, score, box in choose(outputs, card):
        print(name, f"{score:.3f}", *box.round(2))

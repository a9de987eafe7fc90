"""Boxes of a graph that `kdbench export` wrote, and how much two of them overlap."""

import numpy as np


def decode(outputs, card):
    """Boxes (n, 7) of all places: x, y, z, dx, dy, dz, yaw in the LiDAR frame."""
    rows, columns, each = outputs["box"].shape[1:4]
    y, x, kind = np.indices((rows, columns, each)).reshape(3, -1)
    low, high = np.array(card["point_range"]).reshape(2, 3)[:, :2]
    code, place = outputs["box"].reshape(len(x), -1), np.stack([x, y], axis=1)
    size, cell = np.exp(np.minimum(code[:, 3:6], 4)), (high - low) / (columns, rows)
    if card["head"] == "centres":
        xy, yaw = (place + code[:, :2]) * cell + low, np.arctan2(code[:, 6], code[:, 7])
        return np.column_stack([xy, code[:, 2], size, yaw])
    anchor = np.array(card["anchors"])[kind]  # z, dx, dy, dz, yaw
    xy = (place + 0.5) * cell + low + code[:, :2] * np.hypot(anchor[:, 1:2], anchor[:, 2:3])
    yaw = anchor[:, 4] + code[:, 6]
    back = (yaw + np.pi / 4) % (2 * np.pi) >= np.pi  # the half-turn it points to
    yaw += np.pi * (back != outputs["dir"].reshape(-1, 2).argmax(axis=1))
    z = anchor[:, 0] + code[:, 2] * anchor[:, 3]
    return np.column_stack([xy, z, size * anchor[:, 1:4], (yaw + np.pi) % (2 * np.pi) - np.pi])


def iou(a, b):
    """Overlap of two boxes seen from above: the outline of b, cut along the four sides of a."""
    corners = (np.array([1, -1, -1, 1]) * b[3] + 1j * np.array([1, 1, -1, -1]) * b[4]) / 2
    outline = (corners * np.exp(1j * b[6]) + complex(*b[:2] - a[:2])) * np.exp(-1j * a[6])
    for side in np.array([a[3], a[4], a[3], a[4]]) / 2:
        cut = []
        for p, q in zip(outline, np.roll(outline, -1), strict=True):
            cut += [p] if p.real <= side else []
            if (p.real <= side) != (q.real <= side):
                cut.append(p + (q - p) * (side - p.real) / (q.real - p.real))
        outline = np.array(cut) * -1j  # the next side is where this one was
    shared = (outline.conj() * np.roll(outline, -1)).imag.sum() / 2
    return shared / (a[3] * a[4] + b[3] * b[4] - shared)

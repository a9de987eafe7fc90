"""KITTI labels of what a frame shows, computed from the rays and the camera."""

import numpy as np

from kdbench.datasets.synthetic.actors import Actor
from kdbench.datasets.synthetic.camera import CALIBRATION, IMAGE_SIZE
from kdbench.datasets.synthetic.raycast import Crossings
from kdbench.geometry.boxes import boxes_lidar_to_camera, wrap_angle
from kdbench.geometry.kitti_labels import KittiObjects, empty, from_table
from kdbench.geometry.projection import clip_to_image, image_boxes

FEWEST_POINTS = 5  # an object with fewer returns becomes a DontCare area
OCCLUSION_LEVELS = (0.06, 0.55, 0.9)  # hidden share from which an object is level 1, 2, 3
MOST_TRUNCATED = 0.95  # objects farther out of the image are dropped


def label(actors: list[Actor], points_on: np.ndarray, hidden: np.ndarray) -> KittiObjects:
    """The label rows of a frame.

    `points_on` (m,) is how many returns each actor has, `hidden` (m,) the share of its rays that
    something else stops first. Actors outside the image are left out.
    """
    if not actors:
        return empty()
    boxes = np.array([actor.box for actor in actors])
    clipped, truncated = truncation(image_boxes(boxes, CALIBRATION))
    hwl, location, rotation = boxes_lidar_to_camera(boxes, CALIBRATION)
    alpha = wrap_angle(rotation - np.arctan2(location[:, 0], location[:, 2]))
    names = np.array([actor.name for actor in actors])
    occluded = np.digitize(hidden, OCCLUSION_LEVELS)
    rows = np.column_stack([truncated, occluded, alpha, clipped, hwl, location, rotation])
    vague = points_on < FEWEST_POINTS
    names = np.where(vague, "DontCare", names)
    rows[vague, 0:3] = -1, -1, -10
    rows[vague, 7:] = -1, -1, -1, -1000, -1000, -1000, -10
    shown = (truncated < MOST_TRUNCATED) & (clipped[:, 2:] - clipped[:, :2] >= 2).all(axis=1)
    order = np.concatenate([np.flatnonzero(shown & ~vague), np.flatnonzero(shown & vague)])
    return from_table(names[order], rows[order]) if len(order) else empty()


def truncation(full: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (m, 4) cut to the image, and the share (m,) of their area that is cut away."""
    clipped = clip_to_image(full, IMAGE_SIZE)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = 1 - _area(clipped) / _area(full)
    return clipped, np.nan_to_num(share, nan=1.0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def hidden_shares(
    met: Crossings, owner: np.ndarray, distance: np.ndarray, seen: np.ndarray, count: int
) -> np.ndarray:
    """Share (count,) of each object's own rays that something else stops before it.

    `owner` (k,) is the object of each crossing, `distance` (R,) where each ray ends, `seen` (R,)
    which rays lie in the image. Objects 0 to `count` - 1 are asked for; one without any ray
    counts as hidden.
    """
    own = np.flatnonzero((owner < count) & seen[met.ray])
    nearest = np.full(count * len(distance), np.inf)
    key = owner[own] * len(distance) + met.ray[own]
    np.minimum.at(nearest, key, met.enter[own])
    nearest = nearest.reshape(count, len(distance))
    meets = np.isfinite(nearest)
    rays = meets.sum(axis=1)
    blocked = (meets & (distance < nearest - 0.02)).sum(axis=1)
    return np.where(rays > 0, blocked / np.maximum(rays, 1), 1.0)

"""The box convention, its passage to and from the camera frame, and points in boxes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench.geometry import kitti_labels
from kdbench.geometry.boxes import (
    box_of_points,
    boxes_camera_to_lidar,
    boxes_lidar_to_camera,
    corners,
    points_in_boxes,
    wrap_angle,
)
from kdbench.geometry.calibration import Calibration, read_calibration

CALIBRATION = Calibration(
    p2=np.array([[700.0, 0, 600, 45], [0, 700, 180, -0.3], [0, 0, 1, 0.003]]),
    r0=np.array([[1, -0.01, 0], [0.01, 1, 0], [0, 0, 1]]),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.3]]),
)

box = st.tuples(
    st.floats(0, 70), st.floats(-40, 40), st.floats(-3, 1),
    st.floats(0.2, 15), st.floats(0.2, 5), st.floats(0.2, 4), st.floats(-7, 7),
)  # fmt: skip
boxes_of = st.lists(box, min_size=0, max_size=6).map(lambda b: np.array(b).reshape(-1, 7))


@given(arrays(np.float64, 4, elements=st.floats(-50, 50)))
def test_wrap_angle(angles):
    wrapped = wrap_angle(angles)
    assert ((wrapped >= -np.pi) & (wrapped <= np.pi)).all()
    np.testing.assert_allclose(np.cos(wrapped), np.cos(angles), atol=1e-9)
    np.testing.assert_allclose(np.sin(wrapped), np.sin(angles), atol=1e-9)


def test_corners_order():
    quarter_turn = [10, 0, 1, 4, 2, 6, np.pi / 2]
    expected = [  # front left is now at -x, +y
        (9, 2, -2), (9, -2, -2), (11, -2, -2), (11, 2, -2),
        (9, 2, 4), (9, -2, 4), (11, -2, 4), (11, 2, 4),
    ]  # fmt: skip
    np.testing.assert_allclose(corners(np.array([quarter_turn]))[0], expected, atol=1e-12)


@given(boxes_of)
def test_corners_span_the_box(boxes):
    c = corners(boxes)
    assert c.shape == (len(boxes), 8, 3)
    np.testing.assert_allclose(c.mean(axis=1), boxes[:, :3], atol=1e-9)
    for a, b, size in ((0, 1, 3), (0, 3, 4), (0, 4, 5)):
        lengths = np.linalg.norm(c[:, a] - c[:, b], axis=1)
        np.testing.assert_allclose(lengths, boxes[:, size], atol=1e-9)


@given(boxes_of)
def test_camera_and_lidar_are_inverse(boxes):
    back = boxes_camera_to_lidar(*boxes_lidar_to_camera(boxes, CALIBRATION), CALIBRATION)
    np.testing.assert_allclose(back[:, :6], boxes[:, :6], atol=1e-9)
    turn = wrap_angle(back[:, 6] - boxes[:, 6])
    np.testing.assert_allclose(np.cos(turn), 1, atol=1e-9)


def test_a_car_ahead_that_drives_away():
    # rotation_y = -pi/2 looks along the camera's z, the LiDAR's x.
    lidar = boxes_camera_to_lidar([[1.5, 1.6, 4]], [[0, 1.7, 20]], [-np.pi / 2], CALIBRATION)
    np.testing.assert_allclose(lidar[0, :2], (20.3, 0), atol=0.05)
    np.testing.assert_allclose(lidar[0, 2:], (-1.7 - 0.08 + 0.75, 4, 1.6, 1.5, 0), atol=0.01)


def _inside_by_corners(points, boxes):
    """Slow reference: a point is inside when it projects into all three edges from corner 2."""
    inside = np.zeros((len(points), len(boxes)), bool)
    for m, c in enumerate(corners(boxes)):
        origin, edges = c[2], c[[3, 1, 6]] - c[2]
        share = np.stack([(points[:, :3] - origin) @ e / (e @ e) for e in edges], axis=1)
        inside[:, m] = ((share >= 0) & (share <= 1)).all(axis=1)
    return inside


@settings(max_examples=50, deadline=None)
@given(boxes_of, st.integers(0, 2**32 - 1))
def test_points_in_boxes_against_reference(boxes, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform((0, -40, -3, 0), (70, 40, 1, 1), (300, 4))
    if len(boxes):  # and many points near boxes
        near = boxes[rng.integers(len(boxes), size=300)]
        points = np.concatenate([points, np.pad(near[:, :3], ((0, 0), (0, 1)))])
        points[300:, :3] += rng.uniform(-1, 1, (300, 3)) * near[:, 3:6]
    expected = _inside_by_corners(points, boxes)
    inside = points_in_boxes(points, boxes)
    assert inside.dtype == bool
    assert np.array_equal(inside, expected)
    first = np.where(expected.any(axis=1), expected.argmax(axis=1), -1) if len(boxes) else -1
    assert np.array_equal(box_of_points(points, boxes), np.broadcast_to(first, len(points)))


def test_faces_count_as_inside():
    boxes = np.array([[0, 0, 0, 2, 2, 2, 0.0]])
    points = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 1], [1.001, 0, 0]], np.float32)
    assert points_in_boxes(points, boxes)[:, 0].tolist() == [True] * 4 + [False]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (3, 0)])
def test_nothing_in_nothing(n, m):
    points, boxes = np.zeros((n, 4), np.float32), np.ones((m, 7), np.float32)
    assert points_in_boxes(points, boxes).shape == (n, m)
    assert (box_of_points(points, boxes[:0]) == -1).all()
    assert corners(boxes).shape == (m, 8, 3)


def test_golden_boxes(shared):
    """Boxes and points in them as the field's info files have them, for 35 real frames."""
    training = shared / "kitti" / "training"
    golden = json.loads((shared / "golden" / "boxes" / "boxes_lidar.json").read_text())
    for frame_id, expected in golden.items():
        calibration = read_calibration(training / "calib" / f"{frame_id}.txt")
        objects = kitti_labels.read(training / "label_2" / f"{frame_id}.txt")
        objects = objects.select(objects.names != "DontCare")
        assert objects.names.tolist() == expected["name"]
        boxes = boxes_camera_to_lidar(
            objects.hwl, objects.location, objects.rotation_y, calibration
        )
        theirs = np.array(expected["box_lidar"])
        np.testing.assert_allclose(boxes[:, :6], theirs[:, :6], atol=1e-3)
        assert (np.abs(wrap_angle(boxes[:, 6] - theirs[:, 6])) < 1e-3).all()
        cloud = training / "velodyne" / f"{frame_id}.bin"
        points = np.fromfile(cloud, np.float32).reshape(-1, 4)
        inside = points_in_boxes(points, boxes).sum(axis=0)
        assert (np.abs(inside - expected["points_in_box"]) <= 5).all()


def test_corners_of_boxes_given_as_integers():
    np.testing.assert_array_equal(
        corners(np.array([[0, 0, 0, 3, 1, 1, 0]])), corners(np.array([[0.0, 0, 0, 3, 1, 1, 0]]))
    )

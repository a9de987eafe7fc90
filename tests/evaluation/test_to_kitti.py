"""LiDAR boxes to KITTI results: projection, clipping, the observation angle."""

import numpy as np
import pytest

from kdbench.evaluation.kitti_ap import evaluate
from kdbench.evaluation.to_kitti import to_kitti
from kdbench.geometry import kitti_labels
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration, read_calibration
from kdbench.geometry.projection import clip_to_image, image_boxes

CLASSES = ("Car", "Pedestrian", "Cyclist")
SIZE = (1200, 400)
PINHOLE = Calibration(  # focal length 700, looking along the LiDAR's x from its origin
    p2=np.array([[700.0, 0, 600, 0], [0, 700, 200, 0], [0, 0, 1, 0]]),
    r0=np.eye(3),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]]),
)


def one(box, label=0):
    return to_kitti(np.array([box]), [0.7], [label], CLASSES, PINHOLE, SIZE)


def test_a_box_straight_ahead():
    # Nearest face at 18 m, 2 m wide and high: 700 * 1 / 18 pixels to each side.
    result = one([20, 0, 0, 4, 2, 2, 0], label=2)
    half = 700 / 18
    np.testing.assert_allclose(result.bbox[0], [600 - half, 200 - half, 600 + half, 200 + half])
    np.testing.assert_allclose(result.location[0], [0, 1, 20], atol=1e-12)
    np.testing.assert_allclose(result.hwl[0], [2, 2, 4])
    assert result.rotation_y[0] == pytest.approx(-np.pi / 2)
    assert result.alpha[0] == pytest.approx(-np.pi / 2)
    assert result.names.tolist() == ["Cyclist"]
    assert result.score.tolist() == [0.7]
    assert (result.truncated[0], result.occluded[0]) == (-1, -1)


def test_alpha_is_relative_to_the_ray():
    # Seen 30 degrees to the right, driving away along the ray: as if straight ahead.
    result = one([20, -20 / np.sqrt(3), 0, 4, 2, 2, -np.pi / 6])
    assert result.rotation_y[0] == pytest.approx(-np.pi / 3)
    assert result.alpha[0] == pytest.approx(-np.pi / 2)


def test_clipped_to_the_image():
    left, _, right, _ = one([5, 4, 0, 4, 2, 2, 0]).bbox[0]
    assert left == 0
    assert 0 < right < SIZE[0]
    assert (one([3, 0, 0, 4, 40, 20, 0]).bbox[0] == [0, 0, SIZE[0] - 1, SIZE[1] - 1]).all()


@pytest.mark.parametrize("box", [[-20, 0, 0, 4, 2, 2, 0], [20, 100, 0, 4, 2, 2, 0]])
def test_what_the_image_does_not_show_is_left_out(box):
    assert len(one(box)) == 0


def test_a_box_beside_and_behind_the_camera():
    # From 5 m behind to 5 m ahead, 2 to 4 m to the left: its front end is what shows.
    around = image_boxes(np.array([[0, 3, 0, 10, 2, 2, 0]]), PINHOLE)
    bbox = clip_to_image(around, SIZE)[0]
    np.testing.assert_allclose(bbox, [0, 0, 600 - 700 * 2 / 5, SIZE[1] - 1], atol=1e-9)


def test_no_detections():
    result = to_kitti(np.zeros((0, 7)), np.zeros(0), np.zeros(0), CLASSES, PINHOLE, SIZE)
    assert len(result) == 0
    assert result.bbox.shape == (0, 4)
    assert kitti_labels.format_rows(result, scored=True) == ""


def test_real_labels_come_back(shared):
    truth, found = {}, {}
    for path in sorted((shared / "kitti/training/label_2").glob("*.txt")):
        calibration = read_calibration(shared / f"kitti/training/calib/{path.name}")
        objects = kitti_labels.read(path)
        objects = objects.select(np.isin(objects.names, CLASSES))
        boxes = boxes_camera_to_lidar(
            objects.hwl, objects.location, objects.rotation_y, calibration
        )
        label = [CLASSES.index(name) for name in objects.names]
        found[path.stem] = to_kitti(
            boxes, np.ones(len(boxes)), label, CLASSES, calibration, (1242, 375)
        )
        truth[path.stem] = objects
        if len(objects) == len(found[path.stem]):
            turn = found[path.stem].alpha - objects.alpha
            assert np.cos(turn).min(initial=1) > 0.95  # labels carry some noise of their own
    result = evaluate(truth, found, fill_recall=True)
    for name, metrics in result.items():
        assert min(metrics["3d"]["R40"]) > 99.9, name
        # People's labels are drawn around what is seen, the projection is around their box.
        assert min(metrics["aos"]["R40"]) > 80, name

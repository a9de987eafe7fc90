import numpy as np
import pytest
import torch

from kdbench.detector import Detections
from kdbench.evaluation.filled_ap import ap_of, mean_ap
from kdbench.evaluation.resample import unpack
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.training.evaluate import ignore_outside, score

RANGE = (0.0, -40.0, -3.0, 70.0, 40.0, 1.0)


def labelled(dataset, frame_id) -> Detections:
    """The labelled boxes of a frame as perfect detections."""
    objects, frame = dataset.objects(frame_id), dataset.frame(frame_id)
    objects = objects.select(np.isin(objects.names, dataset.classes))
    boxes = boxes_camera_to_lidar(
        objects.hwl, objects.location, objects.rotation_y, frame.calibration
    )
    labels = [dataset.classes.index(name) for name in objects.names]
    scores = torch.linspace(0.9, 0.8, len(boxes))
    return Detections(torch.from_numpy(boxes).float(), scores, torch.tensor(labels))


def test_no_detections_score_zero(dataset):
    nothing = Detections(torch.zeros(0, 7), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    metrics = score(dataset, {i: nothing for i in dataset.ids("val")}, RANGE)
    assert metrics["bev_map"] == metrics["3d_map"] == 0
    assert metrics["frames"] == 2


def test_perfect_detections_have_full_precision_at_each_sampled_recall(dataset):
    found = {i: labelled(dataset, i) for i in dataset.ids("val")}
    bev = score(dataset, found, RANGE)["kitti"]["car"]["bev"]["R40"]
    # The devkit samples at most one of its 40 recalls a car, and not the first: 3 of 40 for four.
    assert bev[2] == pytest.approx(100 * 3 / 40)


def test_a_perfect_detector_has_a_mean_of_100(dataset):
    """Whatever the frames show: `ap` fills recalls, and a class that is absent does not count."""
    found = {i: labelled(dataset, i) for i in dataset.ids("val")}
    metrics = score(dataset, found, RANGE)
    assert set(metrics["ap"]["bev"].values()) <= {100.0, None}
    assert metrics["ap"]["bev"]["car"] == metrics["bev_map"] == metrics["3d_map"] == 100
    drawn = unpack(metrics["resamples"])
    assert set(drawn[~np.isnan(drawn)]) == {100.0}


def test_objects_outside_the_range_are_neither_missed_nor_found(dataset):
    frame_id = dataset.ids("val")[0]
    objects, calibration = dataset.objects(frame_id), dataset.frame(frame_id).calibration
    narrow = (0.0, -40.0, -3.0, 15.0, 40.0, 1.0)
    marked = ignore_outside(objects, calibration, narrow)
    boxes = boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)
    real = objects.names != "DontCare"
    outside = real & (boxes[:, 0] >= 15)
    assert outside.any() and (real & ~outside).any()
    assert (marked.occluded[outside] == 3).all()
    np.testing.assert_array_equal(marked.occluded[~outside], objects.occluded[~outside])


def test_the_headline_is_the_mean_over_the_classes_that_there_are():
    ap = {"bev": {"car": 60.0, "pedestrian": 30.0, "cyclist": None}}
    assert mean_ap(ap, "bev") == 45.0
    assert mean_ap({"bev": {"car": None}}, "bev") == 0.0


def test_a_record_from_before_filled_recalls_has_kittis_own():
    kitti = {"car": {m: {"R40": [90.0, 60.0, 10.0], "R11": [0, 0, 0]} for m in ("bev", "3d")}}
    assert ap_of({"kitti": kitti}) == {"bev": {"car": 60.0}, "3d": {"car": 60.0}}

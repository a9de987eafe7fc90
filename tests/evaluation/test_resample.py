"""AP over drawn frames: what evaluating the drawn frames gives."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluation.kitti_ap import evaluate, match
from kdbench.evaluation.resample import (
    METRICS,
    UNIT,
    frame_weights,
    pack,
    resampled_ap,
    unpack,
)
from kdbench.geometry.kitti_labels import KittiObjects

CLASSES = ("Car", "Pedestrian")


def scene(rng, n, scored):
    """n cars and pedestrians of one frame, in the camera frame."""
    location = np.column_stack([rng.uniform(-8, 8, n), np.full(n, 1.7), rng.uniform(8, 30, n)])
    names = np.array(["Car", "Pedestrian"])[rng.integers(0, 2, n)]
    return KittiObjects(
        names=names, truncated=np.zeros(n), occluded=np.zeros(n, int), alpha=np.zeros(n),
        bbox=np.tile([0.0, 0, 100, 100], (n, 1)), hwl=np.tile([1.5, 1.6, 3.9], (n, 1)),
        location=location, rotation_y=rng.uniform(-3, 3, n),
        score=rng.random(n) if scored else np.zeros(n),
    )  # fmt: skip


@pytest.fixture
def frames():
    """Twelve frames: ground truth, and detections that hit about half of it."""
    rng = np.random.default_rng(0)
    truth = {f"{i:06d}": scene(rng, 6, False) for i in range(12)}
    found = {
        key: replace(
            t, location=t.location + rng.normal(0, 0.12, t.location.shape), score=rng.random(6)
        )
        for key, t in truth.items()
    }
    return truth, found


def test_each_frame_is_drawn_once_on_average_and_the_draws_repeat():
    weights = frame_weights(50, 400)
    assert weights.shape == (400, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)
    assert (frame_weights(50, 400) == weights).all()


def test_a_draw_is_the_evaluation_of_the_drawn_frames(frames):
    truth, found = frames
    ap = resampled_ap(match(truth, found, CLASSES), draws=8)
    for draw, weights in enumerate(frame_weights(len(truth), 8)):
        copies = [(key, k) for key, n in zip(truth, weights, strict=True) for k in range(n)]
        drawn = evaluate(
            {f"{key}-{k}": truth[key] for key, k in copies},
            {f"{key}-{k}": found[key] for key, k in copies},
            CLASSES,
            fill_recall=True,
        )
        expected = [[drawn[c][m]["R40"][1] for c in ("car", "pedestrian")] for m in METRICS]
        np.testing.assert_allclose(ap[:, :, draw], expected, atol=1e-9)
    assert ap.std(axis=2).max() > 0


def test_a_draw_without_a_class_has_no_ap_of_it(frames):
    truth, found = frames
    first = next(iter(truth))
    lone = {
        key: t.select(t.names != "Pedestrian") if key != first else t for key, t in truth.items()
    }
    ap = resampled_ap(match(lone, found, CLASSES), draws=40)
    drawn = frame_weights(len(truth), 40)[:, 0] > 0
    assert drawn.any() and not drawn.all()
    np.testing.assert_array_equal(np.isnan(ap[:, 1]), np.broadcast_to(~drawn, (2, 40)))
    assert not np.isnan(ap[:, 0]).any()
    packed = pack(ap, len(truth), ("car", "pedestrian"))
    np.testing.assert_array_equal(np.isnan(unpack(packed)), np.isnan(ap))


def test_a_record_keeps_a_hundredth_of_a_point():
    ap = np.random.default_rng(0).uniform(0, 100, (2, 3, 50))
    packed = pack(ap, 150, ("car", "pedestrian", "cyclist"))
    assert np.abs(unpack(packed) - ap).max() <= UNIT / 2 + 1e-9
    assert (packed["frames"], packed["classes"][0]) == (150, "car")

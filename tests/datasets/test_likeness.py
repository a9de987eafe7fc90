"""Depths of cars' points and person-sized things, on scenes made for them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.dataset import Frame
from kdbench.datasets.likeness import FEWEST, depths_behind, person_sized


def frame(points, boxes=(), labels=None) -> Frame:
    cloud = np.column_stack([np.asarray(points, np.float32), np.zeros(len(points), np.float32)])
    boxes = np.asarray(boxes, np.float32).reshape(-1, 7)
    labels = np.zeros(len(boxes), int) if labels is None else np.asarray(labels)
    return Frame("0", cloud.astype(np.float32), boxes, labels, None, (1, 1))


def car(x, y, yaw):
    return (x, y, 0.0, 4.0, 1.6, 1.5, yaw)


@given(st.floats(9, 25), st.floats(-0.6, 0.6), st.floats(-0.2, 0.2))
def test_depths_are_counted_from_the_near_end_along_the_car(distance, bearing, turned):
    """Points at known depths behind the rear of a car, wherever it stands."""
    yaw = bearing + turned
    x, y = distance * np.cos(bearing), distance * np.sin(bearing)
    depth, aside = np.array([0.1, 0.5, 1.0, 3.9]), np.array([0.0, 0.4, -0.5, 0.1])
    along = depth - 2.0
    points = np.column_stack([
        x + along * np.cos(yaw) - aside * np.sin(yaw),
        y + along * np.sin(yaw) + aside * np.cos(yaw),
        np.zeros(4),
    ])  # fmt: skip
    np.testing.assert_allclose(np.sort(depths_behind(frame(points, [car(x, y, yaw)]))), depth,
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("box", "label"),
    [(car(15, 0, np.pi), 0), (car(15, 0, 0.5), 0), (car(5, 0, 0), 0), (car(40, 0, 0), 0),
     (car(15, 0, 0), 1)],
)  # fmt: skip
def test_other_cars_and_other_objects_do_not_count(box, label):
    points = [(box[0], box[1], 0.0)] * 5
    assert len(depths_behind(frame(points, [box], [label]))) == 0


GROUND = np.array([(x, y, -1.7) for x in np.arange(6, 30, 0.5) for y in np.arange(-8, 8, 0.5)])


def post(x, y, height=1.5, points=30, width=0.1):
    rng = np.random.default_rng(0)
    up = np.linspace(-1.7 + 0.3, -1.7 + height, points)
    return np.column_stack(
        [x + rng.uniform(0, width, points), y + rng.uniform(0, width, points), up]
    )


def blobs(*things, boxes=(), keep_ground=True):
    cloud = np.concatenate([*([GROUND] if keep_ground else []), *things])
    return person_sized(frame(cloud, boxes))


def test_a_post_is_one_thing_as_large_as_a_person():
    (blob,) = blobs(post(12.2, 3.2))
    assert blob.points == 30
    assert blob.height == pytest.approx(1.2, abs=1e-5) and blob.width <= 0.1


@pytest.mark.parametrize(
    "thing",
    [
        post(12.2, 3.2, height=0.6),  # too low
        post(12.2, 3.2, height=3.5),  # too tall
        post(12.2, 3.2, points=FEWEST - 1),
        np.concatenate([post(12.2 + d, 3.2) for d in np.arange(0, 3, 0.2)]),  # a wall
        post(2.2, 1.2),  # too near
        post(45.2, 3.2),  # too far
    ],
)
def test_what_is_not_is_not_counted(thing):
    assert blobs(thing) == []


def test_labelled_objects_are_none():
    box = (12.25, 3.25, -0.9, 0.8, 0.6, 1.7, 0.3)
    assert blobs(post(12.2, 3.2), boxes=[box]) == []
    assert len(blobs(post(12.2, 3.2), post(20.2, -3.2), boxes=[box])) == 1


def test_its_reflectance_may_be_uneven():
    cloud = frame(np.concatenate([GROUND, post(12.2, 3.2)]))
    cloud.points[-30::2, 3] = 1.0
    (blob,) = person_sized(cloud)
    assert blob.reflectance_spread == pytest.approx(0.5)


def test_an_empty_frame_has_nothing():
    empty = replace(frame(np.zeros((0, 3))), points=np.zeros((0, 4), np.float32))
    assert person_sized(empty) == [] and len(depths_behind(empty)) == 0

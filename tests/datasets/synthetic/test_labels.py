"""2D boxes, truncation and occlusion against independent computation."""

import numpy as np

from kdbench.datasets.synthetic import sensor
from kdbench.datasets.synthetic.actors import Actor
from kdbench.datasets.synthetic.camera import CALIBRATION, IMAGE_SIZE
from kdbench.datasets.synthetic.frame import simulate
from kdbench.datasets.synthetic.labels import hidden_shares, label, truncation
from kdbench.datasets.synthetic.raycast import crossings
from kdbench.datasets.synthetic.shape import Placed, box, place
from kdbench.geometry.boxes import boxes_camera_to_lidar, points_in_boxes
from kdbench.geometry.kitti_labels import parse
from kdbench.geometry.projection import image_boxes


def surface(one: np.ndarray, count: int = 40) -> np.ndarray:
    """Points on a dense grid through a box."""
    unit = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, count)] * 3), axis=-1).reshape(-1, 3)
    local = unit * one[3:6]
    cos, sin = np.cos(one[6]), np.sin(one[6])
    x, y = local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos
    return np.column_stack([x, y, local[:, 2]]) + one[:3]


def test_image_box_is_that_of_the_box_seen_as_points():
    one = np.array([15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.5])
    pixels, depth = CALIBRATION.rect_to_image(CALIBRATION.lidar_to_rect(surface(one)))
    assert (depth > 0).all()
    assert np.allclose(
        image_boxes(one[None], CALIBRATION)[0],
        [*pixels.min(axis=0), *pixels.max(axis=0)],
        atol=0.01,
    )


def test_box_partly_behind_the_camera_is_cut_at_it():
    one = np.array([[1.0, 3.5, -0.9, 6.0, 1.7, 1.5, 0.0]])
    full = image_boxes(one, CALIBRATION)
    assert np.isfinite(full).all()
    clipped, truncated = truncation(full)
    assert truncated[0] > 0.5 and clipped[0, 0] == 0
    behind = one - np.array([10.0, 0, 0, 0, 0, 0, 0])
    assert np.isnan(image_boxes(behind, CALIBRATION)).all()


def test_truncation_is_the_share_of_the_2d_box_outside():
    full = np.array([[-100.0, 100, 100, 200], [10, 10, 20, 20], [2000, 0, 2100, 10]])
    clipped, truncated = truncation(full)
    assert np.allclose(truncated, [0.5, 0, 1])
    assert clipped[:, [0, 2]].max() <= IMAGE_SIZE[0] - 1


def test_hidden_share_of_a_half_covered_wall():
    """A screen before the left half of a wall hides half of its rays."""
    rays = sensor.rays(np.random.default_rng(0))
    wall = Placed(box("wall", (0, -2, -1), (0.2, 2, 1)), (20.0, 0.0, 0.0), 0.0)
    screen = Placed(box("wall", (0, 0, -2), (0.1, 9, 2)), (10.0, 0.0, 0.0), 0.0)
    solids = place([wall, screen])
    met = crossings(rays, solids)
    distance = np.full(len(rays), np.inf)
    np.minimum.at(distance, met.ray, met.enter)
    seen = np.ones(len(rays), bool)
    shares = hidden_shares(met, solids.object[met.part], distance, seen, 2)
    assert abs(shares[0] - 0.5) < 0.02 and shares[1] == 0
    nothing = hidden_shares(met, solids.object[met.part], distance, ~seen, 2)
    assert (nothing == 1).all()


def actor(name: str, x: float, y: float) -> Actor:
    return Actor(name, np.array([x, y, -0.9, 4.0, 1.7, 1.5, 0.1]), None)


def test_rows():
    actors = [actor("Car", 15, 0), actor("Car", 60, 5), actor("Van", 20, 60), actor("Car", 30, -3)]
    objects = label(actors, np.array([300, 2, 50, 80]), np.array([0.0, 0.2, 0.0, 0.7]))
    assert objects.names.tolist() == ["Car", "Car", "DontCare"]  # the van is out of the image
    assert objects.occluded.tolist() == [0, 2, -1]
    assert np.allclose(objects.location[2], -1000) and objects.alpha[2] == -10
    assert (objects.bbox[2, 2:] > objects.bbox[2, :2]).all()
    assert len(label([], np.zeros(0), np.zeros(0))) == 0


def test_labelled_objects_hold_the_points_they_are_labelled_for():
    from kdbench.geometry.kitti_labels import format_rows

    for index in range(3):
        scan = simulate(5, index)
        objects = parse(format_rows(scan.objects))
        objects = objects.select(objects.names != "DontCare")
        boxes = boxes_camera_to_lidar(
            objects.hwl, objects.location, objects.rotation_y, CALIBRATION
        )
        assert (points_in_boxes(scan.points, boxes + [0, 0, 0, 0.3, 0.3, 0.3, 0]).sum(0) > 3).all()
        assert (np.abs(objects.alpha) <= np.pi).all()
        assert ((objects.truncated >= 0) & (objects.truncated < 1)).all()

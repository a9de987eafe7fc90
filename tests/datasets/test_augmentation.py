"""Augmentation: each step by itself, collisions, the object database, and the whole chain."""

import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.dataset import Frame
from kdbench.datasets import gt_database
from kdbench.datasets.augmentation import (
    Augmentation,
    augmentation_from,
    carry,
    choose_moves,
    crop_to_range,
    flip,
    rotate,
    scale,
    shuffle_points,
)
from kdbench.datasets.collision import collide, free_of_collision
from kdbench.datasets.gt_sampling import sample_ground_truth
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import UsageError
from kdbench.geometry.boxes import corners, points_in_boxes

CLASSES = ("Car", "Pedestrian", "Cyclist")
NO_OBSTACLES = np.zeros((0, 7), np.float32)
seeds = st.integers(0, 2**32 - 1)


def make_frame(seed: int, objects: int = 6, crowd: int = 30) -> Frame:
    """Objects that do not collide, points well inside each, and ground around them."""
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([
        rng.uniform((5, -20, -1.5), (60, 20, 0), (objects, 3)),
        rng.uniform((0.5, 0.5, 1), (5, 2, 2), (objects, 3)),
        rng.uniform(-np.pi, np.pi, objects),
    ]).astype(np.float32)  # fmt: skip
    boxes = boxes[free_of_collision(boxes, NO_OBSTACLES)]
    c = corners(boxes)
    share = rng.uniform(0.05, 0.95, (len(boxes), crowd, 3))
    edges = c[:, None, [3, 1, 6]] - c[:, None, [2]]
    inside = (c[:, None, 2] + (share[..., None] * edges).sum(axis=2)).reshape(-1, 3)
    ground = rng.uniform((0, -40, -2.6), (70, 40, -2.5), (500, 3))
    points = np.concatenate([inside, ground])
    points = np.column_stack([points, rng.uniform(0, 1, len(points))]).astype(np.float32)
    labels = rng.integers(0, 3, len(boxes))
    return Frame("000000", points, boxes, labels, calibration=None, image_size=(1, 1))


def membership(frame: Frame) -> np.ndarray:
    """Which points lie in which box, with a millimetre of room for rounding."""
    boxes = frame.boxes.copy()
    boxes[:, 3:6] += 1e-3
    return points_in_boxes(frame.points, boxes)


def bytes_of(frame: Frame) -> bytes:
    return frame.points.tobytes() + frame.boxes.tobytes() + frame.labels.tobytes()


# --- whole-frame steps ------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-np.pi, np.pi), st.floats(0.9, 1.1))
def test_whole_frame_steps_keep_points_in_their_boxes(seed, angle, factor):
    frame = make_frame(seed)
    before = bytes_of(frame)
    for changed in (flip(frame), rotate(frame, angle), scale(frame, factor)):
        assert np.array_equal(membership(changed), membership(frame))
        assert changed.points.dtype == changed.boxes.dtype == np.float32
        assert np.array_equal(changed.points[:, 3], frame.points[:, 3])
    assert bytes_of(frame) == before


def test_flip_by_hand():
    frame = make_frame(0)
    flipped = flip(frame)
    np.testing.assert_array_equal(flipped.points[:, :3], frame.points[:, :3] * (1, -1, 1))
    np.testing.assert_array_equal(flipped.boxes[:, 6], -frame.boxes[:, 6])
    assert bytes_of(flip(flipped)) == bytes_of(frame)


def test_rotate_by_hand():
    frame = replace(
        make_frame(0),
        points=np.array([[1, 2, 3, 0.5]], np.float32),
        boxes=np.array([[2, 0, 1, 4, 2, 1, 3.0]], np.float32),
    )
    turned = rotate(frame, np.pi / 2)
    np.testing.assert_allclose(turned.points, [[-2, 1, 3, 0.5]], atol=1e-6)
    yaw = 3 + np.pi / 2 - 2 * np.pi
    np.testing.assert_allclose(turned.boxes, [[0, 2, 1, 4, 2, 1, yaw]], atol=1e-6)


def test_crop_to_range():
    frame = make_frame(1, objects=40)
    limits = np.array([10, -10, -2.5, 40, 10, 1])
    cropped = crop_to_range(frame, limits)
    for rows, whole in ((cropped.points, frame.points), (cropped.boxes, frame.boxes)):
        inside = ((whole[:, :3] >= limits[:3]) & (whole[:, :3] < limits[3:])).all(axis=1)
        assert 0 < inside.sum() < len(whole)
        assert np.array_equal(rows, whole[inside])
    assert len(cropped.labels) == len(cropped.boxes)


def test_shuffle_keeps_every_point():
    frame = make_frame(2)
    shuffled = shuffle_points(frame, np.random.default_rng(0)).points
    assert not np.array_equal(shuffled, frame.points)
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, frame.points.tolist()))


# --- objects moved one by one -----------------------------------------------------------------


def move_objects(frame, obstacles, seed):
    rng = np.random.default_rng(seed)
    return carry(frame, choose_moves(frame.boxes, obstacles, Augmentation(), rng))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_moved_objects_keep_their_points_and_do_not_collide(seed):
    frame = make_frame(seed)
    moved = move_objects(frame, NO_OBSTACLES, seed)
    on_objects = membership(frame).any(axis=1)
    assert (membership(moved) >= membership(frame)).all()
    assert np.array_equal(moved.points[~on_objects], frame.points[~on_objects])
    assert np.array_equal(moved.boxes[:, 3:6], frame.boxes[:, 3:6])
    assert not np.array_equal(moved.boxes[:, :3], frame.boxes[:, :3])
    assert free_of_collision(moved.boxes, NO_OBSTACLES).all()


def test_object_without_room_stays():
    frame = make_frame(3, objects=1)
    wall = frame.boxes + np.array([0, 0, 0, 50, 50, 0, 0], np.float32)
    moved = move_objects(frame, wall, seed=0)
    np.testing.assert_allclose(moved.points, frame.points, atol=1e-5)
    np.testing.assert_allclose(moved.boxes, frame.boxes, atol=1e-6)


# --- collision --------------------------------------------------------------------------------

rectangle = st.tuples(
    st.floats(-3, 3), st.floats(-3, 3), st.just(0.0),
    st.floats(0.3, 5), st.floats(0.3, 3), st.just(1.0), st.floats(-4, 4),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(rectangle, rectangle)
def test_collision_against_shapely(a, b):
    a, b = np.array(a), np.array(b)
    shapes = [shapely.Polygon(corners(box[None])[0, :4, :2]) for box in (a, b)]
    area = shapes[0].intersection(shapes[1]).area
    gap = shapes[0].distance(shapes[1])
    if area > 1e-6:
        assert collide(a, b) and collide(b, a)
    elif gap > 1e-6:
        assert not collide(a, b) and not collide(b, a)


def test_touching_is_no_collision():
    a, b = np.array([0, 0, 0, 2, 2, 1, 0.0]), np.array([2, 0, 0, 2, 2, 1, 0.0])
    assert not collide(a, b)
    assert collide(a, b - [0.01, 0, 0, 0, 0, 0, 0])
    assert collide(a, a)


def test_candidates_are_placed_in_turn():
    row = np.array([[x, 0, 0, 2, 2, 1, 0] for x in (0, 1, 2.5, 9)], np.float32)
    assert free_of_collision(row, NO_OBSTACLES).tolist() == [True, False, True, True]
    assert free_of_collision(row, row[3:]).tolist() == [True, False, True, False]
    assert free_of_collision(row[:0], row).tolist() == []


# --- ground-truth database and sampling -------------------------------------------------------


def test_database_holds_objects_with_their_points(kitti_tree):
    data = KittiTree(root=kitti_tree)
    database = data.database
    assert len(database) == 4 * len(data.ids("train"))
    assert set(database.difficulty.tolist()) == {0}
    for i in range(len(database)):
        crop = database.points_of(i)
        assert len(crop) >= 40 and points_in_boxes(crop, database.boxes[i : i + 1]).all()
    assert {k: len(v) for k, v in database.by_label.items()} == {0: 8, 1: 4, 2: 4}


def test_database_leaves_out_what_is_hardly_seen(kitti_tree):
    data = KittiTree(root=kitti_tree)
    recording = data._recording("000000")
    hidden = replace(recording, difficulty=np.array([0, -1, 2, 1]))
    assert gt_database.build([hidden]).labels.tolist() == [0, 1, 2]
    sparse = replace(recording, frame=replace(recording.frame, points=recording.frame.points[:0]))
    empty = gt_database.build([sparse])
    assert len(empty) == 0 and empty.starts.tolist() == [0]


def test_database_is_kept_in_a_file(kitti_tree, tmp_path):
    folder = tmp_path / "cache"
    data = KittiTree(root=kitti_tree, cache_dir=folder)
    first = data.database
    assert [p.name for p in folder.glob("*.npz")] == [f"gt-database-v2-{data.fingerprint()}.npz"]
    again = gt_database.load_or_build(folder, data.fingerprint(), recordings=None)
    for name in ("points", "starts", "boxes", "labels", "difficulty"):
        a, b = getattr(first, name), getattr(again, name)
        assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + b])
def test_damaged_database_is_built_anew(kitti_tree, tmp_path, damage):
    whole = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").database
    (path,) = (tmp_path / "cache").glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RuntimeWarning, match="npz: damaged, built anew"):
        database = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").database
    assert np.array_equal(database.points, whole.points)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").database) == len(whole)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_sampling(seed):
    frame, source = make_frame(seed, objects=4), make_frame(seed + 1, objects=40)
    database = database_of(source)
    van = np.array([[30, 0, -1, 6, 3, 2, 0]], np.float32)
    counts = {0: 5, 1: 0, 2: 3}
    result = sample_ground_truth(frame, van, database, counts, np.random.default_rng(seed))
    old, new = result.boxes[: len(frame.boxes)], result.boxes[len(frame.boxes) :]
    assert np.array_equal(old, frame.boxes)
    assert free_of_collision(new, np.concatenate([old, van])).all()
    assert {tuple(b) for b in new.tolist()} <= {tuple(b) for b in source.boxes.tolist()}
    assert len({tuple(b) for b in new.tolist()}) == len(new)
    for label, count in counts.items():
        had = (frame.labels == label).sum()
        assert had <= (result.labels == label).sum() <= max(had, count)
    # The points in a pasted box are those of the object and no other.
    points = {tuple(p) for p in source.points.tolist()}
    on_pasted = result.points[points_in_boxes(result.points, new).any(axis=1)]
    assert {tuple(p) for p in on_pasted.tolist()} <= points


def database_of(frame: Frame) -> gt_database.GroundTruthDatabase:
    recording = gt_database.Recording(frame, np.zeros(len(frame.boxes), np.int64), NO_OBSTACLES)
    return gt_database.build([recording])


def test_sampling_from_nothing():
    frame, empty = make_frame(0), database_of(make_frame(0, objects=0))
    result = sample_ground_truth(frame, NO_OBSTACLES, empty, {0: 15}, np.random.default_rng(0))
    assert bytes_of(result) == bytes_of(frame)


# --- the whole chain --------------------------------------------------------------------------


def test_same_generator_same_bytes(kitti_tree, tmp_path):
    """From a fresh database, from one read back, and whatever was drawn before."""
    data = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache")
    first = bytes_of(data.training_frame("000001", np.random.default_rng(5)))
    other = bytes_of(data.training_frame("000001", np.random.default_rng(6)))
    again = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache")
    again.training_frame("000000", np.random.default_rng(1))
    assert bytes_of(again.training_frame("000001", np.random.default_rng(5))) == first
    assert other != first


def test_threads_give_the_same_frames(kitti_tree):
    data = KittiTree(root=kitti_tree)
    results = {}

    def work(seed):
        results[seed] = bytes_of(data.training_frame("000001", np.random.default_rng(seed)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        alone = KittiTree(root=kitti_tree).training_frame("000001", np.random.default_rng(seed))
        assert results[seed] == bytes_of(alone)


def test_training_frame(kitti_tree):
    limits = [0, -25, -3, 50, 25, 1]
    data = KittiTree(root=kitti_tree, point_range=limits)
    recorded = data.frame("000001")
    counts = []
    for seed in range(20):
        frame = data.training_frame("000001", np.random.default_rng(seed))
        low, high = np.array(limits[:3]), np.array(limits[3:])
        for rows in (frame.points, frame.boxes):
            assert ((rows[:, :3] >= low) & (rows[:, :3] < high)).all()
            assert rows.dtype == np.float32
        assert len(frame.labels) == len(frame.boxes)
        counts.append(len(frame.boxes))
    assert max(counts) > len(recorded.boxes)
    assert bytes_of(data.frame("000001")) == bytes_of(recorded)


@pytest.mark.parametrize("samples", [{}, {"Car": 5}])
def test_frame_without_points_and_objects(kitti_tree, samples):
    (kitti_tree / "training/velodyne/000001.bin").write_bytes(b"")
    (kitti_tree / "training/label_2/000001.txt").write_text("")
    data = KittiTree(root=kitti_tree, augmentation={"samples": samples})
    frame = data.training_frame("000001", np.random.default_rng(0))
    assert (len(frame.boxes) > 0) == bool(samples)
    assert frame.points.shape[1] == 4 and frame.points.dtype == np.float32


def test_augmentation_can_be_off(kitti_tree):
    data = KittiTree(root=kitti_tree, augmentation={"enabled": False})
    recorded = data.frame("000001")
    frame = data.training_frame("000001", np.random.default_rng(0))
    assert np.array_equal(frame.boxes, recorded.boxes)
    assert sorted(map(tuple, frame.points.tolist())) == sorted(map(tuple, recorded.points.tolist()))


def test_no_samples_means_no_database(kitti_tree):
    data = KittiTree(root=kitti_tree, augmentation={"samples": {}})
    frame = data.training_frame("000001", np.random.default_rng(0))
    assert len(frame.boxes) == 4 and data._database is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"flipp": 1},
            "augmentation 'flipp'; did you mean 'flip'.*object_tries",
        ),
        ({"flip": "often"}, "augmentation.flip: 'often' is not of type float"),
        ({"rotation": -1.0}, "augmentation.rotation: -1.0 is below 0"),
        ({"samples": {"Bus": 3}}, "unknown class in augmentation.samples 'Bus'.*Pedestrian"),
        ({"samples": {"Car": "a"}}, "augmentation.samples.Car: 'a' is not of type int"),
        ({"scale": [1.1, 0.9]}, "augmentation.scale: .* is not a smallest and a largest factor"),
        ({"scale": [1.0]}, "augmentation.scale: .* is not a smallest and a largest factor"),
        ("strong", "augmentation: 'strong' is not settings with values"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(UsageError, match=message):
        augmentation_from(options, CLASSES)


def test_settings_from_options():
    assert augmentation_from(None, CLASSES) == Augmentation()
    changed = augmentation_from({"flip": 0, "samples": {"Car": 3}}, CLASSES)
    assert changed == replace(Augmentation(), flip=0.0, samples={"Car": 3})

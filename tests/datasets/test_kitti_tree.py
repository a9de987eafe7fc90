"""Reading, cropping, fingerprints and verification of a KITTI tree."""

import json
import os
import shutil
import struct

import numpy as np
import pytest

from kdbench.datasets import fingerprint
from kdbench.datasets.difficulty import difficulty
from kdbench.datasets.frame_cache import FrameCache
from kdbench.datasets.image_frustum import KITTI_IMAGE_SIZES, image_size, in_image
from kdbench.datasets.kitti import Kitti
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.datasets.recording import read_cloud
from kdbench.errors import DataError, UsageError
from kdbench.geometry.boxes import points_in_boxes
from kdbench.geometry.calibration import read_calibration
from kdbench.geometry.kitti_labels import KittiObjects

VELODYNE, LABEL, CALIB = "training/velodyne", "training/label_2", "training/calib"


# --- frames -----------------------------------------------------------------------------------


def test_ids_keep_their_order_and_number(kitti_tree):
    data = KittiTree(root=kitti_tree, train_frames=2)
    assert data.ids("train") == ["000000", "000001"]
    assert data.ids("val") == ["000002", "000003"]


def test_frame(kitti_tree):
    frame = KittiTree(root=kitti_tree).frame("000001")
    assert frame.id == "000001" and frame.image_size == (1242, 375)
    assert frame.points.dtype == np.float32 and frame.points.shape[1] == 4
    assert frame.boxes.dtype == np.float32 and frame.labels.dtype == np.int64
    assert frame.labels.tolist() == [0, 0, 1, 2]  # the van and the DontCare area are no targets
    assert (points_in_boxes(frame.points, frame.boxes).sum(axis=0) >= 40).all()
    assert in_image(frame.points, frame.calibration, frame.image_size).all()


def test_objects_hold_every_class(kitti_tree):
    names = KittiTree(root=kitti_tree).objects("000001").names
    assert names.tolist() == ["Car", "Car", "Pedestrian", "Cyclist", "Van", "DontCare"]


def test_point_range(kitti_tree):
    whole = KittiTree(root=kitti_tree).frame("000000")
    x_limit = float(whole.boxes[1, 0])  # through the centre of the second car
    near = KittiTree(root=kitti_tree, point_range=[5, -40, -3, x_limit, 40, 1]).frame("000000")
    assert near.labels.tolist() == [0]
    assert near.points[:, 0].min() >= 5 and near.points[:, 0].max() < x_limit
    kept = whole.points[(whole.points[:, 0] >= 5) & (whole.points[:, 0] < np.float32(x_limit))]
    assert near.points.tobytes() == kept.tobytes()


def test_changing_a_frame_leaves_the_next_one_alone(kitti_tree):
    data = KittiTree(root=kitti_tree)
    first = data.frame("000000")
    before = first.points.copy()
    first.points[:] = 0
    first.boxes[:] = 0
    again = data.frame("000000")
    assert np.array_equal(again.points, before) and again.boxes.any()


def test_frame_without_objects(kitti_tree):
    (kitti_tree / LABEL / "000000.txt").write_text("")
    data = KittiTree(root=kitti_tree)
    assert data.verify() == []
    frame = data.frame("000000")
    assert frame.boxes.shape == (0, 7) and frame.labels.shape == (0,)
    assert len(data.objects("000000")) == 0


def test_cache_stays_below_its_limit(kitti_tree):
    data = KittiTree(root=kitti_tree)
    recording = data._recording("000000")
    reads = []

    def read(frame_id):
        reads.append(frame_id)
        return recording

    cache = FrameCache(max_bytes=int(1.5 * recording.frame.points.nbytes))
    for frame_id in ("a", "a", "b", "b"):
        cache.get(frame_id, read)
    assert reads == ["a", "b", "b"]  # there was room for one


# --- image size and frustum -------------------------------------------------------------------


def test_image_size_from_png_header(kitti_tree, tmp_path):
    calibration = read_calibration(kitti_tree / CALIB / "000000.txt")
    png = tmp_path / "image.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480))
    assert image_size(png, calibration) == (640, 480)
    png.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="image.png: not a PNG image"):
        image_size(png, calibration)


def test_image_size_of_known_and_unknown_cameras(kitti_tree, tmp_path):
    calibration = read_calibration(kitti_tree / CALIB / "000000.txt")
    for focal, size in KITTI_IMAGE_SIZES.items():
        calibration.p2[0, 0] = focal
        assert image_size(tmp_path / "none.png", calibration) == size
    calibration.p2[0, :3] = 500, 0, 320.2
    calibration.p2[1, :3] = 0, 500, 239.9
    assert image_size(tmp_path / "none.png", calibration) == (640, 480)


def test_frustum_reproduces_the_reduced_clouds(shared):
    """Whole sweeps cropped here are byte for byte the clouds that the field trains on."""
    reduced = KittiTree(root=shared / "kitti")
    for path in sorted((shared / "kitti_full_clouds").glob("*.bin")):
        frame = reduced.frame(path.stem)
        whole = read_cloud(path)
        cropped = whole[in_image(whole, frame.calibration, frame.image_size)]
        assert len(cropped) < len(whole)
        assert cropped.tobytes() == (shared / "kitti" / VELODYNE / path.name).read_bytes()


def test_frustum_keeps_reduced_clouds_whole(shared):
    data = KittiTree(root=shared / "kitti")
    for frame_id in data.ids("val"):
        bytes_on_disk = (shared / "kitti" / VELODYNE / f"{frame_id}.bin").read_bytes()
        assert data.frame(frame_id).points.tobytes() == bytes_on_disk


# --- difficulty -------------------------------------------------------------------------------


def _seen(height, occluded, truncated) -> KittiObjects:
    n = len(height)
    bbox = np.zeros((n, 4))
    bbox[:, 3] = np.array(height) - 1  # first and last pixel count
    return KittiObjects(
        names=np.array(["Car"] * n), truncated=np.array(truncated), occluded=np.array(occluded),
        alpha=np.zeros(n), bbox=bbox, hwl=np.ones((n, 3)), location=np.zeros((n, 3)),
        rotation_y=np.zeros(n), score=np.ones(n),
    )  # fmt: skip


def test_difficulty_rules():
    height = [40, 39, 40, 40, 25, 25, 24, 60, 60]
    occluded = [0, 0, 1, 0, 1, 2, 0, 3, 0]
    truncated = [0.15, 0, 0, 0.2, 0.3, 0.5, 0, 0, 0.6]
    expected = [0, 1, 1, 1, 1, 2, -1, -1, -1]
    assert difficulty(_seen(height, occluded, truncated)).tolist() == expected


def test_golden_difficulty(shared):
    data = KittiTree(root=shared / "kitti")
    golden = json.loads((shared / "golden" / "boxes" / "boxes_lidar.json").read_text())
    for frame_id, expected in golden.items():
        objects = data.objects(frame_id)
        ours = difficulty(objects.select(objects.names != "DontCare"))
        assert ours.tolist() == expected["difficulty"], frame_id


# --- fingerprint ------------------------------------------------------------------------------


def test_fingerprint_names_the_data_not_the_path(kitti_tree, tmp_path):
    original = KittiTree(root=kitti_tree).fingerprint()
    copy = shutil.copytree(kitti_tree, tmp_path / "elsewhere")
    assert KittiTree(root=copy).fingerprint() == original
    assert len(original) == 12
    with (copy / LABEL / "000003.txt").open("a") as file:
        file.write("DontCare -1 -1 -10 5 6 7 8 -1 -1 -1 -1000 -1000 -1000 -10\n")
    assert KittiTree(root=copy).fingerprint() != original


def test_fingerprint_depends_on_the_frames_taken(kitti_tree):
    whole = KittiTree(root=kitti_tree).fingerprint()
    assert KittiTree(root=kitti_tree, train_frames=2).fingerprint() != whole
    assert KittiTree(root=kitti_tree, train_frames=100).fingerprint() == whole


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("keep_times", [True, False])
def test_bytes_corrected_in_place_are_new_data(kitti_tree, tmp_path, cached, keep_times):
    cache = tmp_path / "cache" if cached else None
    before = KittiTree(root=kitti_tree, cache_dir=cache).fingerprint()
    assert KittiTree(root=kitti_tree, cache_dir=cache).fingerprint() == before
    cloud = kitti_tree / VELODYNE / "000001.bin"
    times = cloud.stat()
    points = np.fromfile(cloud, np.float32).reshape(-1, 4)
    points[:, 3] *= 0.5
    points.tofile(cloud)  # of the same size
    if keep_times:
        os.utime(cloud, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert KittiTree(root=kitti_tree, cache_dir=cache).fingerprint() != before
    points[:, 3] *= 2
    points.tofile(cloud)
    assert KittiTree(root=kitti_tree, cache_dir=cache).fingerprint() == before


def test_files_are_hashed_once(kitti_tree, tmp_path, monkeypatch):
    whole = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").fingerprint()
    monkeypatch.setattr(fingerprint, "_hash", lambda path: pytest.fail(f"read {path} again"))
    assert KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").fingerprint() == whole


def test_a_damaged_cache_of_hashes_costs_time_alone(kitti_tree, tmp_path):
    whole = KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").fingerprint()
    (cache,) = (tmp_path / "cache/fingerprints").iterdir()
    cache.write_text("{broken")
    assert KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").fingerprint() == whole


# --- errors -----------------------------------------------------------------------------------


def test_errors_name_the_file_and_what_to_do(kitti_tree):
    cloud = kitti_tree / VELODYNE / "000001.bin"
    cloud.unlink()
    data = KittiTree(root=kitti_tree)
    advice = f"`kdbench data verify {kitti_tree}` lists all that is missing or damaged"
    with pytest.raises(DataError) as error:
        data.frame("000001")
    assert str(error.value) == f"{cloud}: no such point cloud; {advice}"
    with pytest.raises(DataError) as error:
        data.fingerprint()
    assert str(error.value) == f"{cloud}: No such file or directory; {advice}"


def test_missing_image_sets(tmp_path):
    with pytest.raises(DataError, match="ImageSets/val.txt: no such list of the split val"):
        KittiTree(root=tmp_path).ids("val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"point_range": [0, 0, 0, 1, 1]}, "point_range: .* is not x0, y0, z0, x1, y1, z1"),
        ({"point_range": [0, 0, 0, 1, 1, -1]}, "point_range: .* is not x0, y0, z0, x1, y1, z1"),
        ({"point_range": "wide"}, "point_range: 'wide' is not"),
        ({"train_frames": 0}, "train_frames: 0 is not a number of frames"),
        ({"val_frames": "x"}, "val_frames: 'x' is not a number of frames"),
        ({"augmentation": {"flipp": 1}}, "'flipp'; did you mean 'flip'"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        KittiTree(root=tmp_path, **options)


def test_unknown_split(kitti_tree):
    with pytest.raises(UsageError, match="no split 'test'; there are train, val"):
        KittiTree(root=kitti_tree).ids("test")


def test_kitti_finds_its_root(kitti_tree, monkeypatch):
    monkeypatch.delenv("KDBENCH_KITTI", raising=False)
    with pytest.raises(DataError, match="give --data-root DIR or set KDBENCH_KITTI=DIR"):
        Kitti()
    monkeypatch.setenv("KDBENCH_KITTI", str(kitti_tree))
    assert Kitti().ids("val") == Kitti(root=kitti_tree, train_frames=1).ids("val")


# --- verify -----------------------------------------------------------------------------------


def test_verify_finds_nothing_wrong(kitti_tree):
    assert KittiTree(root=kitti_tree).verify() == []


def _cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def _spoil(path):
    points = np.fromfile(path, "<f4")
    points[5] = np.nan
    points.tofile(path)


DAMAGES = [
    (f"{VELODYNE}/000000.bin", lambda p: p.unlink(), "no such point cloud"),
    (f"{VELODYNE}/000000.bin", _cut, "are no whole number of 16-byte points; the file is cut"),
    (f"{VELODYNE}/000000.bin", _spoil, "a value is not finite"),
    (f"{VELODYNE}/000000.bin", lambda p: p.write_bytes(b""), "holds no points"),
    (f"{LABEL}/000001.txt", lambda p: p.unlink(), "no such label file"),
    (f"{LABEL}/000001.txt", lambda p: p.write_text("Car 0 0 0\n"), ", line 1: 4 columns"),
    (f"{LABEL}/000001.txt", lambda p: p.write_text("Car" + " 0" * 14), "a size that is not above"),
    (f"{CALIB}/000002.txt", lambda p: p.write_text("P0: 1\n"), "no line P2"),
    ("training/image_2/000003.png", lambda p: p.write_text("JPEG"), "not a PNG image"),
    ("ImageSets/val.txt", lambda p: p.unlink(), "no such list"),
    ("ImageSets", shutil.rmtree, "no such folder"),
    (
        "ImageSets/val.txt",
        lambda p: p.write_text("000000\n"),
        "frame 000000 is listed in both",
    ),
    (LABEL, shutil.rmtree, "no such folder"),
]


@pytest.mark.parametrize(("place", "damage", "message"), DAMAGES)
def test_verify_names_each_damage_once(kitti_tree, place, damage, message):
    path = kitti_tree / place
    path.parent.mkdir(exist_ok=True)
    damage(path)
    problems = KittiTree(root=kitti_tree).verify()
    assert len(problems) == (3 if place == "ImageSets" else 1)  # the folder, and both its files
    assert message in problems[0] and "\n" not in problems[0]
    assert str(kitti_tree / place.removesuffix("/val.txt")) in problems[0]


def test_verify_of_nothing(tmp_path):
    assert KittiTree(root=tmp_path / "none").verify() == [f"{tmp_path / 'none'}: no such folder"]

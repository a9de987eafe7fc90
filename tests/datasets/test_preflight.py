"""A tree that gives nothing to train or to judge on is told before the first step."""

import re
import shutil

import numpy as np
import pytest

from kdbench.dataset import Dataset
from kdbench.datasets import kitti_verify
from kdbench.datasets.cloud_layout import layout_problem
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.datasets.reading import Reading
from kdbench.datasets.synthetic.dataset import Synthetic
from kdbench.errors import DataError
from kdbench.geometry import kitti_labels

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


def edit(root, folder, change):
    """Writes `change(bytes)` for each file of a folder of the tree."""
    for path in (root / folder).iterdir():
        path.write_bytes(change(path.read_bytes()))


def labels(pattern, by):
    return "training/label_2", lambda data: re.sub(pattern, by, data.decode(), flags=re.M).encode()


def calib(key, values):
    text = f"{key}: {values}"
    return "training/calib", lambda d: re.sub(f"^{key}:.*", text, d.decode(), flags=re.M).encode()


def clouds(change):
    def changed(data):
        points = np.frombuffer(data, "<f4").reshape(-1, 4)
        return np.ascontiguousarray(change(points)).astype("<f4").tobytes()

    return "training/velodyne", changed


def with_ring(points):
    return np.column_stack([points, np.arange(len(points)) % 64])


NO_IMAGE_BOX = labels(r"^((?!Dont)\S+ \S+ \S+ \S+) \S+ \S+ \S+ \S+", r"\1 0 0 0 0")
FAULTS = {
    "foreign names": (
        labels("^(Car|Pedestrian|Cyclist|Van) ", "Sedan "),
        r"split train: no Car, Pedestrian or Cyclist among the classes Sedan \(20\).*sed",
    ),
    "ignored alone": (
        labels("^(Car|Pedestrian|Cyclist) ", "Tram "),
        r"Tram \(16\).*: nothing to train or judge on",
    ),
    "no objects": (("training/label_2", lambda _: b""), "split train: no object in 4 label files"),
    "no 2D boxes": (NO_IMAGE_BOX, "no object has a 2D box.*dataset.project_boxes=true"),
    "2D boxes of -1": (
        labels(r"^(\S+ \S+ \S+ \S+) \S+ \S+ \S+ \S+", r"\1 -1 -1 -1 -1"),
        "no object has a 2D box",
    ),
    "all occluded": (labels(r"^(\S+ \S+) 0", r"\1 3"), "no object is easy, moderate or hard"),
    "no camera": (calib("P2", IDENTITY), r"none of the \d+ points is in the image, P2 is no cam"),
    "camera of zeros": (calib("P2", "0 " * 12), "P2 is no camera"),
    "camera elsewhere": (
        calib("Tr_velo_to_cam", "0 1 0 0 0 0 -1 0 -1 0 0 0"),
        "none of the .* points is in the image, the camera looks elsewhere",
    ),
    "singular R0": (calib("R0_rect", "0 " * 9), "calib/000000.txt: R0_rect or .* is singular"),
    "scaled": (calib("R0_rect", "2 0 0 0 2 0 0 0 2"), "R0_rect holds no rotation matrix"),
    "five columns": (clouds(with_ring), "velodyne/000000.bin: .*not fit 4 .*dataset.columns=5"),
    "three columns": (clouds(lambda p: p[:, :3]), "dataset.columns=3"),
    "float64": (
        ("training/velodyne", lambda d: np.frombuffer(d, "<f4").astype("<f8").tobytes()),
        "float64 ones: write the clouds as float32",
    ),
    "0..255": (clouds(lambda p: p * [1, 1, 1, 255]), "dataset.max_reflectance=255"),
    "millimetres": (clouds(lambda p: p * [1000, 1000, 1000, 1]), "no 4 float32 columns x, y, z in"),
    "a .npy file": (("training/velodyne", lambda d: b"\x93NUMPY" + d), "a .npy file"),
    "boxes elsewhere": (
        clouds(lambda p: p + [0, 0, 4, 0]),
        "no point lies in any of the 24 boxes looked at",
    ),
    "empty split": (
        ("ImageSets", lambda d: b"" if b"000002" in d else d),
        "ImageSets/val.txt: lists no frame",
    ),
    "same frames": (
        ("ImageSets", lambda _: b"000000\n000001\n"),
        "frame 000000 and 1 other are listed in both train.txt and val.txt",
    ),
    "UTF-16 labels": (
        ("training/label_2", lambda d: d.decode().encode("utf-16")),
        r"label_2/000000.txt: cannot be read as a label file \(no UTF-8 text",
    ),
    "UTF-16 lists": (
        ("ImageSets", lambda d: d.decode().encode("utf-16-le")),
        "ImageSets/train.txt: cannot be read .* zero bytes",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_and_preflight_find_the_same(kitti_tree, tmp_path, fault):
    change, message = FAULTS[fault]
    edit(kitti_tree, *change)
    problems = KittiTree(root=kitti_tree).verify()
    assert re.search(message, problems[0]), problems[0]
    with pytest.raises(DataError, match=message) as error:
        KittiTree(root=kitti_tree, cache_dir=tmp_path / "cache").preflight()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ([clouds(with_ring)], {"columns": 5}),
        ([clouds(lambda p: p[:, :3])], {"columns": 3}),
        ([clouds(lambda p: p * [1, 1, 1, 255])], {"max_reflectance": 255.0}),
        ([calib("P2", IDENTITY)], {"crop": False}),
        ([("training/calib", lambda d: d.replace(b"P2", b"P9"))], {"crop": False}),
        ([NO_IMAGE_BOX], {"project_boxes": True}),
        ([NO_IMAGE_BOX, calib("P2", IDENTITY)], {"crop": False, "project_boxes": True}),
    ],
)
def test_remedies(kitti_tree, changes, remedy):
    before = KittiTree(root=kitti_tree)
    as_it_was, sampled = before.frame("000001"), len(before.database)
    for change in changes:
        edit(kitti_tree, *change)
    data = KittiTree(root=kitti_tree, **remedy)
    assert data.verify() == []
    data.preflight()
    frame = data.frame("000001")
    assert np.allclose(frame.boxes, as_it_was.boxes, atol=1e-3)
    assert len(data.database) == sampled
    if "crop" in remedy:
        assert len(frame.points) == 2200  # none is cropped away
    else:
        assert np.allclose(frame.points[:, :3], as_it_was.points[:, :3], atol=1e-5)
        assert frame.points[:, 3].max() <= 1


def test_the_projected_boxes_are_those_of_the_labels(kitti_tree):
    before = KittiTree(root=kitti_tree).objects("000001").bbox
    edit(kitti_tree, *NO_IMAGE_BOX)
    data = KittiTree(root=kitti_tree, project_boxes=True)
    size = data.frame("000001").image_size
    inside = np.clip(before, 0, np.array(size * 2) - 1)
    assert np.abs(data.objects("000001").bbox - inside).max() < 0.1


def test_other_reading_is_other_data(kitti_tree):
    as_kitti = KittiTree(root=kitti_tree).fingerprint()
    remedies = ({"columns": 5}, {"crop": False}, {"project_boxes": True}, {"max_reflectance": 255})
    found = {KittiTree(root=kitti_tree, **remedy).fingerprint() for remedy in remedies}
    assert len(found | {as_kitti}) == 5


def test_valid_trees_pass(kitti_tree):
    ignored = (
        b"dontcare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n"
        b"Dont_Care -1 -1 -10 1 2 3 4 0 0 0 0 0 0 0\n"
        b"VAN 0 0 0 10 10 200 200 0 0 0 0 1.7 12 0\n"
        b"Bicycle 0 0 0 10 10 200 200 -1 -1 -1 0 1.7 12 0\n"
    )
    edit(kitti_tree, "training/label_2", lambda data: data + ignored)
    (kitti_tree / "training/label_2/000002.txt").write_text("")
    for folder in ("training/label_2", "training/calib", "ImageSets"):
        edit(kitti_tree, folder, lambda d: b"\xef\xbb\xbf" + d.replace(b"\n", b"\r\n"))
    data = KittiTree(root=kitti_tree)
    assert data.verify() == []
    data.preflight()
    assert data.frame("000000").labels.tolist() == [0, 0, 1, 2]


def problems_before_a_run(data: KittiTree) -> list[str]:
    """What preflight would stop a run for."""
    try:
        data.preflight()
    except DataError as error:
        return [str(error)]
    return []


def test_objects_outside_the_range_of_points_are_objects(kitti_tree):
    narrow = KittiTree(root=kitti_tree, point_range=[60, -1, -3, 61, 1, 1])
    assert not any(len(narrow.frame(i).points) for i in narrow.ids("train"))  # nothing is seen
    assert problems_before_a_run(narrow) == []


@pytest.mark.parametrize("limits", [{}, {"train_frames": 8, "val_frames": 4}])
def test_real_frames_pass(shared, limits):
    assert problems_before_a_run(KittiTree(root=shared / "kitti", **limits)) == []


def test_whole_sweeps_pass(shared):
    for path in (shared / "kitti_full_clouds").glob("*.bin"):
        assert layout_problem(path.read_bytes(), Reading()) is None


def test_a_good_verdict_is_kept(kitti_tree, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    KittiTree(root=kitti_tree, cache_dir=cache).preflight()
    with monkeypatch.context() as patch:
        patch.setattr(kitti_verify.Inspection, "problems", lambda *_: pytest.fail("looked again"))
        KittiTree(root=kitti_tree, cache_dir=cache).preflight()
    edit(kitti_tree, *calib("P2", IDENTITY))
    with pytest.raises(DataError, match="P2 is no camera"):
        KittiTree(root=kitti_tree, cache_dir=cache).preflight()


def test_preflight_reads_all_labels_and_a_sample_of_the_clouds(kitti_tree, monkeypatch):
    read = []

    def noted(training, frame_id, reading):
        read.append(frame_id)
        return np.array([[10, 0, 0, 0.5]], np.float32)

    monkeypatch.setattr(kitti_verify, "checked_cloud", noted)
    monkeypatch.setattr("kdbench.datasets.kitti_tree.SAMPLED", 2)
    (kitti_tree / "training/label_2/000004.txt").write_text("Car 1 2")
    with pytest.raises(DataError, match="label_2/000004.txt, line 1"):
        KittiTree(root=kitti_tree).preflight()
    assert sorted(read) == ["000000", "000002", "000003", "000007"]


def test_simulated_frames_pass(tmp_path):
    data = Synthetic(train_frames=2, val_frames=1, cache_dir=tmp_path)
    data.preflight()
    assert data.verify() == []


# --- frames without labels --------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["gone", "empty"])
def test_a_tree_without_labels_can_be_predicted_on_alone(kitti_tree, folder):
    assert KittiTree(root=kitti_tree).labelled("val")
    shutil.rmtree(kitti_tree / "training/label_2")
    if folder == "empty":
        (kitti_tree / "training/label_2").mkdir()
    data = KittiTree(root=kitti_tree)
    assert not data.labelled("val")
    assert data.frame("000002").boxes.shape == (0, 7) and len(data.objects("000002")) == 0
    data.preflight(("val",), labels=False)
    with pytest.raises(DataError, match="label_2"):
        data.preflight()
    assert any("label_2" in problem for problem in data.verify())


def test_one_missing_label_file_is_no_tree_without_labels(kitti_tree):
    (kitti_tree / "training/label_2/000002.txt").unlink()
    with pytest.raises(DataError, match="000002.txt: no such label file"):
        KittiTree(root=kitti_tree).frame("000002")


# --- data sets of other origin ----------------------------------------------------------------


class Plugin(Dataset):
    """Two frames and the objects given."""

    name = "plugin"

    def __init__(self, objects, frames=("a", "b")):
        self.frames, self.found = list(frames), objects

    def ids(self, split):
        return self.frames

    def frame(self, frame_id):
        raise NotImplementedError

    def objects(self, frame_id):
        return self.found

    def fingerprint(self):
        return "0"

    def verify(self):
        return []


def test_a_plugin_is_asked_for_frames_and_targets():
    row = " 0 0 0 500 150 700 220 1.5 1.6 4 0 0.75 10 0"
    Plugin(kitti_labels.parse("car" + row)).preflight()
    with pytest.raises(DataError, match="plugin: the split train has no frames"):
        Plugin(kitti_labels.empty(), frames=()).preflight()
    with pytest.raises(DataError, match="in any of the 2 frames of the split train: nothing to tr"):
        Plugin(kitti_labels.parse("Van" + row)).preflight()
    Plugin(kitti_labels.empty()).preflight(labels=False)

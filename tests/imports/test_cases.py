"""Cases to compare with: whose points they are, and what is wrong with damaged ones."""

import hashlib
import json

import numpy as np
import pytest

from kdbench.errors import DataError
from kdbench.imports.cases import read_cases
from kdbench.imports.compare import compare

POINTS = np.arange(40, dtype=np.float32).reshape(10, 4)
KEPT = np.array([1, 0, 1, 1, 0, 0, 0, 0, 0, 1], bool)


@pytest.fixture
def folder(tmp_path):
    """A case with a KITTI frame of ten points, of which four were fed, and a made-up cloud."""
    place, velodyne = tmp_path / "case", tmp_path / "kitti/training/velodyne"
    place.mkdir()
    velodyne.mkdir(parents=True)
    (velodyne / "000007.bin").write_bytes(POINTS.tobytes())
    digest = hashlib.sha256(POINTS.tobytes()).hexdigest()
    (place / "inputs.json").write_text(json.dumps({"frames": {"sha256": digest}}))
    arrays = {"neck": np.zeros((1, 2, 2)), "s222_neck": np.ones((1, 1, 1))}
    np.savez(place / "kitti_000007.npz", kept=np.packbits(KEPT), **arrays)
    np.savez(place / "synthetic.npz", points=POINTS[:2], neck=np.zeros((1, 2, 2)))
    return place


def test_points_of_kitti_are_those_that_the_mask_keeps(folder, tmp_path):
    cases, skipped = read_cases(folder, tmp_path / "kitti")
    assert [case.name for case in cases] == ["kitti_000007", "kitti_000007/s222", "synthetic"]
    np.testing.assert_array_equal(cases[0].points, POINTS[KEPT])
    assert list(cases[0].arrays) == list(cases[1].arrays) == ["neck"] and skipped == []
    assert cases[1].options == {"strides": [2, 2, 2]} and cases[0].options == {}


def test_without_kitti_the_rest_is_compared(folder, monkeypatch):
    monkeypatch.delenv("KDBENCH_KITTI", raising=False)
    cases, skipped = read_cases(folder, None)
    assert [case.name for case in cases] == ["synthetic"]
    assert skipped == ["kitti_000007.npz not compared: give --data-root or set KDBENCH_KITTI"]


def test_another_cloud_or_a_damaged_file_is_told(folder, tmp_path):
    cloud = tmp_path / "kitti/training/velodyne/000007.bin"
    cloud.write_bytes(POINTS[:9].tobytes())
    with pytest.raises(DataError, match="not the cloud that"):
        read_cases(folder, tmp_path / "kitti")
    (folder / "kitti_000007.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read as arrays"):
        read_cases(folder, tmp_path / "kitti")
    with pytest.raises(DataError, match="no such case"):
        read_cases(tmp_path / "none", None)


def test_errors_are_over_the_standard_deviation_and_of_boxes_by_column():
    expected = np.array([0.0, 2.0])  # of standard deviation 1
    assert compare("case", "neck", expected, expected + [0, 5e-4]).ok
    assert not compare("case", "neck", expected, expected + [0, 2e-3]).ok
    assert not compare("case", "neck", expected, np.array([0.0, np.nan])).ok
    boxes = np.zeros((3, 7))
    turned = boxes + np.eye(7)[6] * 2 * np.pi
    assert compare("case", "top_boxes", boxes, turned).ok
    moved = compare("case", "top_boxes", boxes, boxes + np.eye(7)[2] * 3e-4)
    assert not moved.ok and moved.error == pytest.approx([0, 0, 3e-4, 0, 0, 0, 0])
    labels = np.array([1, 2, 3], np.uint8)
    assert compare("case", "top_label", labels, labels.astype(int)).ok
    assert compare("case", "top_label", labels, labels + 1).error == [3.0]
    assert not compare("case", "neck", expected, expected[:1]).ok

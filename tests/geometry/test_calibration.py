"""Frames of reference, and the calib file format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench.errors import DataError
from kdbench.geometry.calibration import (
    Calibration,
    determinant,
    format_calibration,
    parse_calibration,
    read_calibration,
)

# A camera 0.3 m behind the LiDAR that looks along +x, slightly rotated as real ones are.
TILT = 0.01
CALIBRATION = Calibration(
    p2=np.array([[700.0, 0, 600, 45], [0, 700, 180, -0.3], [0, 0, 1, 0.003]]),
    r0=np.array([[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1]]),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.3]]),
)
TEXT = format_calibration(CALIBRATION)
points = arrays(np.float64, (5, 3), elements=st.floats(-100, 100))


@given(points)
def test_rect_and_lidar_are_inverse(xyz):
    there_and_back = CALIBRATION.rect_to_lidar(CALIBRATION.lidar_to_rect(xyz))
    np.testing.assert_allclose(there_and_back, xyz, atol=1e-9)


def test_axes():
    ahead, left, up = CALIBRATION.lidar_to_rect(np.eye(3)) - CALIBRATION.lidar_to_rect(
        np.zeros((3, 3))
    )
    np.testing.assert_allclose(ahead, (0, 0, 1), atol=0.02)
    np.testing.assert_allclose(left, (-1, 0, 0), atol=0.02)
    np.testing.assert_allclose(up, (0, -1, 0), atol=0.02)


def test_projection_by_hand():
    pixels, depth = CALIBRATION.rect_to_image(np.array([[1.0, 2.0, 10.0], [0, 0, -5]]))
    assert depth[0] == pytest.approx(10.003)
    assert pixels[0, 0] == pytest.approx((700 * 1 + 600 * 10 + 45) / 10.003)
    assert pixels[0, 1] == pytest.approx((700 * 2 + 180 * 10 - 0.3) / 10.003)
    assert depth[1] < 0


def test_no_points():
    empty = np.zeros((0, 3))
    assert CALIBRATION.lidar_to_rect(empty).shape == (0, 3)
    assert CALIBRATION.rect_to_lidar(empty).shape == (0, 3)
    pixels, depth = CALIBRATION.rect_to_image(empty)
    assert pixels.shape == (0, 2) and depth.shape == (0,)


def test_file_round_trip(tmp_path):
    path = tmp_path / "000000.txt"
    path.write_text(TEXT)
    back = read_calibration(path)
    assert [line.split(":")[0] for line in TEXT.splitlines()] == [
        "P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo",
    ]  # fmt: skip
    np.testing.assert_allclose(back.p2, CALIBRATION.p2, rtol=1e-12)
    np.testing.assert_allclose(back.r0, CALIBRATION.r0, rtol=1e-12)
    np.testing.assert_allclose(back.velo_to_cam, CALIBRATION.velo_to_cam, rtol=1e-12)
    assert format_calibration(back) == TEXT


def _without(key):
    return "".join(line for line in TEXT.splitlines(True) if not line.startswith(key))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_without("P2"), "calib.txt: no line P2"),
        (_without("R0_rect"), "calib.txt: no line R0_rect"),
        (_without("R0_rect") + "R0_rect: 1 2 3\n", "calib.txt: R0_rect has 3 numbers, expected 9"),
        (_without("P2") + "P2:" + 12 * " nan", "calib.txt: P2: a value is not finite"),
        (_without("P2") + "P2:" + 12 * " 1e200", "calib.txt: P2: 1e200 is too large"),
        (_without("P2") + "P2: 1_0", "calib.txt: P2: could not convert string to float: '1_0'"),
        (_without("P2") + "P2: 1 two", "calib.txt: P2: could not convert string to float: 'two'"),
        (TEXT + "P2: 1 2 3\n", "calib.txt: P2 is given twice"),
        (
            _without("R0_rect") + "R0_rect: 1 0 0 0 2.3 0 0 0 1e-320",
            "calib.txt: R0_rect or Tr_velo_to_cam is singular: no rotation of the LiDAR",
        ),
        ("", "calib.txt: no line P2"),
    ],
)
def test_damaged_text(text, message):
    with pytest.raises(DataError) as error:
        parse_calibration(text, "calib.txt")
    assert str(error.value) == message


@pytest.mark.filterwarnings("error")
def test_a_determinant_that_floats_cannot_hold_is_zero():
    assert determinant(np.diag([1e200, 1e200, 1e200])) == 0
    assert determinant(np.diag([1, 2.3, 1e-320])) == pytest.approx(0, abs=1e-300)
    assert determinant(np.diag([2.0, 3, -1])) == pytest.approx(-6)


def test_the_same_line_twice_does_no_harm():
    assert np.array_equal(parse_calibration(2 * TEXT).p2, parse_calibration(TEXT).p2)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="000009.txt: no such calibration file"):
        read_calibration(tmp_path / "000009.txt")


def test_unreadable_file(tmp_path):
    (tmp_path / "000009.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="000009.txt: cannot be read as a calibration file"):
        read_calibration(tmp_path / "000009.txt")


def test_real_files_keep_their_values(shared):
    for path in sorted((shared / "kitti" / "training" / "calib").glob("*.txt"))[:20]:
        rows = dict(
            line.split(":", 1) for line in format_calibration(read_calibration(path)).splitlines()
        )
        for line in path.read_text().splitlines():
            key = line.split(":")[0]
            if key in ("P2", "R0_rect", "Tr_velo_to_cam"):
                assert f"{key}:{rows[key]}" == line.rstrip()

"""Label files as other programs write them."""

import pytest

from kdbench.errors import DataError
from kdbench.geometry import kitti_labels

ROW = "Car 0.00 0 0.50 10.00 100.00 90.00 160.00 1.50 1.60 4.00 1.00 1.70 20.00 0.30"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("car", "Car"),
        ("PEDESTRIAN", "Pedestrian"),
        ("person_sitting", "Person_sitting"),
        ("Person-Sitting", "Person_sitting"),
        ("dont_care", "DontCare"),
        ("Sedan", "Sedan"),
        ("bus", "bus"),
    ],
)
def test_names_are_kittis_own_in_any_spelling(written, name):
    assert kitti_labels.parse(ROW.replace("Car", written)).names.tolist() == [name]


@pytest.mark.parametrize("scored", [False, True])
def test_a_byte_order_mark_loses_no_object(tmp_path, scored):
    row = ROW + (" 0.9" if scored else "")
    path = tmp_path / "000000.txt"
    path.write_bytes(f"\ufeff{row}\r\n\ufeff{row}\r\n".encode())
    assert kitti_labels.read(path, scored).names.tolist() == ["Car", "Car"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "000000.txt"
    path.write_bytes(ROW.encode(encoding))
    with pytest.raises(DataError, match="000000.txt: cannot be read as a label file .*as UTF-8$"):
        kitti_labels.read(path)


@pytest.mark.parametrize("written", ["1_0", "٣", "1e999", "nan", "0x10", "1e300", "9" * 30])
def test_a_number_is_finite_in_plain_digits_and_not_too_large(written):
    for column in ("4.00", " 0 "):  # the length, and the level of occlusion, a whole number
        with pytest.raises(DataError, match="line 1: .*(could not convert|not finite|too large)"):
            kitti_labels.parse(ROW.replace(column, f" {written} "))

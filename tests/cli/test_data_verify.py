"""`kdbench data verify`: what it prints, where, and with which exit code."""

import json

import numpy as np
import pytest

from kdbench.cli import main
from kdbench.geometry.calibration import Calibration, format_calibration

CALIBRATION = Calibration(
    p2=np.array([[700.0, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]]),
    r0=np.eye(3),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]]),
)


CAR = "Car 0 0 0 500 150 700 220 1.5 1.6 4 0 0.75 10 0\n"  # 10 metres ahead, seen well


@pytest.fixture
def tree(tmp_path):
    """A valid tree of two frames with a car in each."""
    for split, frame_id in (("train", "000000"), ("val", "000001")):
        files = {
            f"ImageSets/{split}.txt": frame_id.encode(),
            f"training/velodyne/{frame_id}.bin": np.array([[10, 0, 0, 0.5]] * 3, "<f4").tobytes(),
            f"training/label_2/{frame_id}.txt": CAR.encode(),
            f"training/calib/{frame_id}.txt": format_calibration(CALIBRATION).encode(),
        }
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    return tmp_path


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["data", "verify", *map(str, arguments)])
    return stop.value.code, *capsys.readouterr()


def test_nothing_wrong(tree, capsys):
    code, out, err = run(capsys, tree)
    assert (code, out) == (0, "")
    assert err == f"{tree}: all files are there and can be read\n"


def test_problems_one_a_line(tree, capsys):
    (tree / "training/velodyne/000000.bin").unlink()
    (tree / "training/label_2/000001.txt").write_text("Car 1 2\n")
    code, out, err = run(capsys, tree)
    assert code == 4
    assert out.splitlines() == [
        f"{tree}/training/velodyne/000000.bin: no such point cloud",
        f"{tree}/training/label_2/000001.txt, line 1: 3 columns, expected 15",
    ]
    assert err == f"{tree}: 2 problems\n"


def test_json(tree, capsys):
    (tree / "training/calib/000000.txt").unlink()
    code, out, err = run(capsys, tree, "--json", "-")
    assert code == 4 and err == f"{tree}: 1 problem\n"
    assert json.loads(out) == {
        "folder": str(tree),
        "problems": [f"{tree}/training/calib/000000.txt: no such calibration file"],
    }
    code, out, _ = run(capsys, tree, "--json", tree / "report.json")
    assert code == 4 and len(out.splitlines()) == 1
    assert len(json.loads((tree / "report.json").read_text())["problems"]) == 1


def test_how_files_are_read_can_be_said(tree, capsys):
    for path in (tree / "training/velodyne").iterdir():
        path.write_bytes(np.array([[10, 0, 0, 0.5, 7]] * 3, "<f4").tobytes())
    assert run(capsys, tree)[0] == 4
    assert run(capsys, tree, "--set", "dataset.columns=5")[:2] == (0, "")
    code, _, err = run(capsys, tree, "--set", "dataset.colums=5")
    assert code == 2 and "did you mean 'dataset.columns'" in err
    code, _, err = run(capsys, tree, "--set", "dataset.columns=2")
    assert code == 2 and "columns: 2 is not 3 to 64" in err


def test_no_such_folder(tmp_path, capsys):
    code, out, _ = run(capsys, tmp_path / "none")
    assert (code, out) == (4, f"{tmp_path}/none: no such folder\n")


def test_group_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "--help"])
    assert stop.value.code == 0
    assert "verify   Look for missing and damaged files." in capsys.readouterr().out

"""The examples of docs/examples: short, and each does what it says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kdbench
from kdbench.cli import main
from kdbench.datasets.kitti import Kitti
from kdbench.registry import datasets, methods
from kdbench.runs.imported import describe

FOLDER = Path(__file__).resolve().parents[1] / "docs/examples"
LONGEST = 40  # lines, blank ones apart
TINY = {"profile": "tiny", "dataset": "kitti", "data_root": "kitti", "quiet": True}


@pytest.fixture
def place(tmp_path, monkeypatch, kitti_tree):
    """A folder with a KITTI tree and a home of its own; plugins are forgotten afterwards."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for registry in (methods, datasets):
        monkeypatch.setattr(registry, "_found", dict(registry._found))
    return tmp_path


def command(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def program(name: str, *arguments) -> str:
    """What an example prints, in a Python of its own."""
    line = [sys.executable, FOLDER / name, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_short():
    for path in FOLDER.glob("*.py"):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) < LONGEST or path.name == "detect_onnx.py", path.name


def test_a_method_in_one_file_keeps_the_contract(place):
    only = ["--detector", "pointpillars"]
    assert command("check", "cosine", "--plugin", FOLDER / "one_method.py", *only) == 0


def test_a_student_is_loaded_and_detects(place):
    record = kdbench.run(method="none", **TINY)
    (path,) = place.glob("results/*/*/none/*.json")
    cloud = "kitti/training/velodyne/000002.bin"
    lines = program("detect.py", path, cloud).splitlines()
    boxes, scores, names = kdbench.load_model(record).predict(
        np.fromfile(cloud, np.float32).reshape(-1, 4)
    )
    assert [line.split()[0] for line in lines] == names.tolist()
    assert [float(line.split()[1]) for line in lines] == pytest.approx(scores, abs=1e-3)


def test_a_sweep_is_read_into_pandas(place):
    names = ["--methods", "kd", "--ratios", "4", "--profile", "tiny", "--jobs", "1"]
    assert command("sweep", *names, "--dataset", "kitti", "--data-root", "kitti") == 0
    text = program("sweep_to_pandas.py", "results")
    assert "pointpillars at ratio 4" in text
    lines = {line.split()[0]: line for line in text.splitlines()[2:]}
    assert set(lines) == {"kd", "none"}


def test_a_checkpoint_of_ones_own_teaches(place):
    kdbench.run(method="none", ratio=1, results="own", **TINY)
    (path,) = place.glob("own/*/*/none/*.json")
    assert command("export", path, "--format", "openpcdet", "--out", "mine.pth") == 0
    lines = program("own_teacher.py", "mine.pth", "mine.yaml", "kitti", "tiny").splitlines()
    assert "pointpillars of 4,834,824 parameters" in lines
    labels = [line.split()[0] for line in lines[-4:]]
    assert set(labels) == {"teacher", "none", "kd", "fitnet"}
    (record,) = map(json.loads, (p.read_text() for p in place.glob("results/*/*/kd/*.json")))
    assert record["spec"]["teacher"]["steps"] == 0
    assert record["teacher_weights"] == describe("mine").weights


def test_a_data_set_of_ones_own(place):
    tree = Kitti(root="kitti")
    for split in ("train", "val"):
        for frame_id in tree.ids(split):
            frame = tree.frame(frame_id)
            arrays = {"points": frame.points, "boxes": frame.boxes, "labels": frame.labels}
            np.savez(f"{split}-{frame_id}.npz", **arrays)
    own = ["--plugin", FOLDER / "own_dataset.py", "--data-root", "."]
    assert command("check", "npz", "--kind", "dataset", *own) == 0
    datasets._found.pop("npz")  # as in a process of its own
    names = ["--dataset", "npz", "--profile", "tiny", "--method", "none"]
    assert command("run", *names, "--quiet", *own) == 0
    (path,) = place.glob("results/npz/*/none/*.json")
    assert json.loads(path.read_text())["metrics"]["frames"] == len(tree.ids("val"))

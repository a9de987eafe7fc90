"""`kdbench run`, `report`, `list` and `check` as a person meets them."""

import json
import shutil

import numpy as np
import pytest

from kdbench.registry import detectors, methods


@pytest.fixture
def tiny(kitti_tree):
    return ["run", "--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]


def test_run_then_report(kdbench, tiny, tmp_path):
    fast = ["--set", "method.n=50", "--set", "method.k=4"]
    code, out, _ = kdbench(*tiny, *fast)
    assert code == 0
    assert all(word in out for word in ("teacher", "none", "pointdistiller (paper)"))
    code, out, _ = kdbench("report", "--json", "report.json")
    assert code == 0
    assert all(word in out for word in ("teacher", "none", "pointdistiller (paper)"))
    rows = json.loads((tmp_path / "report.json").read_text())
    assert [row["label"] for row in rows][:2] == ["teacher", "none"]
    assert (tmp_path / "results/leaderboard.md").exists()
    assert (tmp_path / "results/leaderboard.csv").exists()


def test_json_on_standard_output_is_the_record_alone(kdbench, tiny):
    code, out, _ = kdbench(*tiny, "--method", "none", "--json", "-", "--quiet")
    assert code == 0
    record = json.loads(out)
    assert record["spec"]["method"]["name"] == "none"
    assert record["schema"] == 2


def test_a_configuration_file_and_what_the_command_line_says_over_it(kdbench, tiny, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("method: kd\nseed: 5\ntrain:\n  steps: 2\n")
    code, out, _ = kdbench(*tiny, "--config", config, "--method", "none", "--json", "-", "--quiet")
    spec = json.loads(out)["spec"]
    assert (spec["method"]["name"], spec["seed"], spec["train"]["steps"]) == ("none", 5, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--method", "pointdistiler"], 2, "did you mean 'pointdistiller'"),
        (["--detector", "pointpilars"], 2, "did you mean 'pointpillars'"),
        (["--profile", "quik"], 2, "did you mean 'quick'"),
        (["--dataset", "kity"], 2, "did you mean 'kitti'"),
        (["--ratio", "0.5"], 2, "ratio must be a number of at least 1"),
        (["--ratio", "four"], 2, "'four' is not a valid float"),
        (["--set", "train.stepz=3"], 2, "did you mean 'train.steps'"),
        (["--method", "kd", "--set", "method.wait=3"], 2, "did you mean 'weight'"),
        (["--device", "gpu"], 2, "gpu"),
        (["--config", "absent.yaml"], 2, "absent.yaml: cannot be read"),
        (["--plugin", "absent.py"], 2, "plugin absent.py: no such file"),
        (["--dataset", "kitti", "--data-root", "nowhere"], 4, "nowhere"),
        (["--dataset", "kitti"], 4, "--data-root"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(kdbench, monkeypatch, arguments, code, message):
    monkeypatch.delenv("KDBENCH_KITTI", raising=False)
    got, out, err = kdbench("run", *arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert len([x for x in err.splitlines() if x.lower().startswith("error")]) == 1


def damage_cloud(root):
    (root / "training/velodyne/000000.bin").write_bytes(b"12345")


def damage_values(root):
    path = root / "training/velodyne/000000.bin"
    cloud = np.fromfile(path, np.float32)
    cloud[5] = np.nan
    cloud.tofile(path)


def damage_label(root):
    (root / "training/label_2/000000.txt").write_text("Car 0 0 0 1 2\n")


def damage_calibration(root):
    (root / "training/calib/000000.txt").unlink()


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (damage_cloud, "velodyne/000000.bin"),
        (damage_values, "velodyne/000000.bin"),
        (damage_label, "label_2/000000.txt, line 1"),
        (damage_calibration, "calib/000000.txt"),
    ],
)
def test_damaged_data_are_named(kdbench, tiny, kitti_tree, damage, file):
    damage(kitti_tree)
    code, _, err = kdbench(*tiny, "--method", "none")
    assert code == 4
    assert file in err and "Traceback" not in err


def test_a_frame_without_objects_is_valid(kdbench, tiny, kitti_tree):
    (kitti_tree / "training/label_2/000000.txt").write_text("")
    code, _, _ = kdbench(*tiny, "--method", "none", "--quiet")
    assert code == 0


def test_a_split_without_objects_is_an_error_before_the_first_step(kdbench, tiny, kitti_tree):
    for path in (kitti_tree / "training/label_2").iterdir():
        path.write_text("")
    code, _, err = kdbench(*tiny, "--method", "none")
    assert code == 4
    assert "split train: no object in 4 label files: nothing to train or judge on" in err
    assert "seed 0: 1/" not in err and "Traceback" not in err


def test_debug_shows_where(kdbench):
    code, _, err = kdbench("run", "--ratio", "0", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_predict_repeats_the_run_and_goes_to_other_data(kdbench, tiny, kitti_tree, tmp_path):
    code, out, _ = kdbench(*tiny, "--method", "none", "--json", "-", "--quiet")
    record = json.loads(out)
    path = next((tmp_path / "results").glob("kitti/pointpillars-x4/none/*.json"))
    root = ["--data-root", kitti_tree]
    code, out, _ = kdbench("predict", path, *root, "--json", "-", "--out", "found")
    assert code == 0
    assert json.loads(out)["kitti"] == record["metrics"]["kitti"]
    assert sorted(p.name for p in (tmp_path / "found").iterdir()) == ["000002.txt", "000003.txt"]
    code, out, _ = kdbench("predict", path, *root, "--dataset", "kitti", "--split", "train")
    assert code == 0 and "over 4 frames" in out
    code, _, err = kdbench("predict", path, *root, "--dataset", "kity")
    assert code == 2 and "did you mean 'kitti'" in err
    code, _, err = kdbench("predict", path, *root, "--set", "dataset.colums=5")
    assert code == 2 and "did you mean 'dataset.columns'" in err
    code, _, err = kdbench("predict", path, *root, "--set", "dataset.columns=5")
    assert code == 4 and "do not fit 5 float32 columns, but 4" in err


def test_predict_without_labels_writes_result_files_and_no_score(
    kdbench, tiny, kitti_tree, tmp_path
):
    kdbench(*tiny, "--method", "none", "--quiet")
    path = next((tmp_path / "results").glob("kitti/pointpillars-x4/none/*.json"))
    shutil.rmtree(kitti_tree / "training/label_2")
    root = ["--data-root", kitti_tree]
    code, out, err = kdbench("predict", path, *root, "--out", "found", "--json", "-")
    assert (code, json.loads(out)) == (0, {"frames": 2, "kitti": None})
    assert "the split val has no labels: there is nothing to score against" in err
    assert sorted(p.name for p in (tmp_path / "found").iterdir()) == ["000002.txt", "000003.txt"]
    code, _, err = kdbench("predict", path, *root)
    assert code == 2 and "give --out DIR" in err


def test_report_without_results(kdbench, tmp_path):
    code, _, err = kdbench("report")
    assert (code, err) == (
        1,
        "error: results: no such folder of results; `kdbench run` makes one\n",
    )
    (tmp_path / "results").mkdir()
    assert "no records" in kdbench("report")[2]


@pytest.mark.parametrize("what", ["methods", "detectors", "datasets"])
def test_list(kdbench, what):
    code, out, _ = kdbench("list", what, "--json", "-")
    names = [row["name"] for row in json.loads(out)]
    expected = {
        "methods": {"none", "kd", "fitnet", "at", "pointdistiller"},
        "detectors": {"pointpillars", "second", "pointrcnn", "centerpoint"},
        "datasets": {"synthetic", "kitti"},
    }
    assert code == 0 and expected[what] <= set(names)


@pytest.mark.parametrize("detector", detectors.names())
def test_check_all_methods_on_each_detector(kdbench, detector):
    code, out, _ = kdbench("check", "--all", "--detector", detector, "--json", "-")
    rows = json.loads(out)
    assert code == 0
    assert {row["result"] for row in rows} <= {"ok", "not applicable"}
    assert {row["method"] for row in rows} == set(methods.names())
    assert sum(row["result"] == "ok" for row in rows) >= 15


BROKEN = """
from kdbench.method import Method

class Broken(Method):
    name = "broken"
    needs = ("neck",)

    def forward(self, student, teacher, batch):
        return {"constant": teacher["neck"].mean()}
"""


def test_check_finds_a_method_that_teaches_nothing(kdbench, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "_found", dict(methods._found))
    (tmp_path / "broken.py").write_text(BROKEN)
    arguments = ["--plugin", "broken.py", "--detector", "pointpillars"]
    code, _, err = kdbench("check", "broken", *arguments)
    assert code == 1
    assert "broken on pointpillars: gradients" in err


def test_check_wants_names_or_all(kdbench):
    assert kdbench("check")[0] == 2
    assert kdbench("check", "kd", "--all")[0] == 2


def test_rescore_gives_the_metrics_again_without_training(kdbench, tiny, tmp_path, kitti_tree):
    kdbench(*tiny, "--method", "none")
    paths = sorted((tmp_path / "results").glob("*/*/*/*.json"))
    before = [path.read_text() for path in paths]
    for path in paths:
        record = json.loads(path.read_text())
        record["metrics"] = {}
        path.write_text(json.dumps(record))
    code, _, err = kdbench("rescore", "--data-root", kitti_tree)
    assert code == 0
    assert [json.loads(p.read_text()) for p in paths] == [json.loads(text) for text in before]
    for path in (tmp_path / "home/runs").glob("*/detections.npz"):
        path.write_bytes(b"damaged")
    code, _, err = kdbench("rescore", "--data-root", kitti_tree)
    assert code == 1
    assert "cannot be used as detections" in err
    assert "1 records were left as they are" in err

"""`kdbench tune` as a person meets it."""

import json
from pathlib import Path

import pytest

from kdbench.cli import main
from kdbench.errors import UsageError
from kdbench.runs.settings import build_spec

ZERO = {"bev_map": 3.0, "3d_map": 2.0, "noise": 1.0, "runs": []}


@pytest.fixture
def kdbench(capsys, tmp_path, monkeypatch, kitti_tree):
    """Runs `kdbench tune` in the tiny profile; gives exit code, standard output and error."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("kdbench.training.tuning.PROBE_STEPS", 2)
    monkeypatch.setattr("kdbench.training.tuning.PROBE_EVERY", 1)
    monkeypatch.setattr("kdbench.training.tuning.Tuner.zero", lambda *_: ZERO)
    monkeypatch.setattr("kdbench.runs.tuned.FOLDER", tmp_path / "defaults")
    monkeypatch.chdir(tmp_path)
    data = ["--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in ("tune", *data, "--steps", 2, *arguments)])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def test_the_outcome_is_kept_and_can_become_the_default(kdbench, tmp_path):
    code, out, _ = kdbench("fitnet", "--share", "0.3")
    assert code == 0
    assert all(word in out for word in ("fitnet", "published weights", "30%"))
    path = tmp_path / "results/tuned/pointpillars/fitnet.json"
    outcome = json.loads(path.read_text())
    assert outcome["cell"] == "pointpillars-x4"
    assert [c["name"] for c in outcome["candidates"]] == ["0", "30%"]
    assert build_spec(method="fitnet").method.scale == 1.0
    (tmp_path / "defaults/pointpillars").mkdir(parents=True)
    outcome["scale"] = 7.0
    (tmp_path / "defaults/pointpillars/fitnet.json").write_text(json.dumps(outcome))
    code, out, _ = kdbench("fitnet", "--defaults", "--json", "-", "--quiet")
    assert json.loads(out)[0]["scale"] == 7.0  # tuned before, and not tuned again
    assert build_spec(method="fitnet").method.scale == 7.0
    assert build_spec(method="self").method.scale == 7.0


def test_another_teacher_has_outcomes_of_its_own(kdbench, tmp_path):
    by = ("--teacher-detector", "second")
    code, _, err = kdbench("kd", "--share", "0.3", *by, "--set", "teacher.steps=1")
    assert code == 0, err
    assert (tmp_path / "results/tuned/pointpillars-by-second/kd.json").exists()
    assert not (tmp_path / "results/tuned/pointpillars").exists()
    code, _, err = kdbench("kd", *by, "--defaults")
    assert code == 2 and "found with the detector's own teacher" in err


def test_candidate_0_is_trained_once_for_all_methods_of_a_cell(kdbench, tmp_path, monkeypatch):
    assert kdbench("fitnet", "--share", "0.3")[0] == 0
    path = tmp_path / "results/tuned/pointpillars/none-x4.json"
    assert json.loads(path.read_text()).items() >= ZERO.items()
    monkeypatch.setattr("kdbench.training.tuning.Tuner.zero", lambda *_: pytest.fail("again"))
    assert kdbench("at", "--share", "0.3")[0] == 0
    monkeypatch.setattr("kdbench.training.tuning.Tuner.zero", lambda *_: ZERO | {"noise": 9.0})
    assert kdbench("at", "--force", "--share", "0.3", "--set", "train.lr=0.001")[0] == 0
    assert json.loads(path.read_text())["noise"] == 9.0  # of another learning rate


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name the methods to tune, or give --all"),
        (["kd", "--all"], 2, "name the methods to tune, or give --all"),
        (["kdd"], 2, "did you mean 'kd'"),
        (["none"], 3, "not applicable: none teaches by no loss"),
        (["self"], 3, "takes the factor of the method it wraps"),
        (["kd", "--share", "1"], 2, "1"),
        (["kd", "--set", "method.scale=2"], 2, "it is what is looked for"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(kdbench, arguments, code, message):
    found, _, err = kdbench(*arguments)
    assert found == code
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "text"),
    [("kd", ""), ("kd", "[]"), ("kd", "{}"), ("kd", '{"scale": 1'), ("none-x4", '{"noise": -1}')],
)
def test_a_damaged_outcome_is_named(kdbench, name, text):
    path = Path(f"results/tuned/pointpillars/{name}.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    code, out, err = kdbench("kd", "--quiet")
    assert code == 2 and out == ""
    assert f"error: {path}: not " in err.splitlines()[-1]


def test_a_damaged_default_is_named(kdbench, tmp_path):
    path = tmp_path / "defaults/pointpillars/kd.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"scale": "4"}')
    with pytest.raises(UsageError, match="kd.json: not what `kdbench tune` writes"):
        build_spec(method="kd")

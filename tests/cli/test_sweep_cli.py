"""`kdbench sweep` as a person meets it; nothing is trained here."""

import json

import pytest

from kdbench.cli import main
from kdbench.cli.sweep import jobs_asked
from kdbench.errors import UsageError


@pytest.fixture
def kdbench(capsys, tmp_path, monkeypatch, kitti_tree):
    """Runs `kdbench sweep --plan`; gives exit code, standard output and standard error."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    data = ["--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in ("sweep", *data, "--plan", *arguments)])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def test_the_plan_of_names_and_numbers(kdbench):
    code, out, err = kdbench("--methods", "kd,self", "--seeds", "2", "--json", "-")
    assert code == 0
    cells = json.loads(out)
    assert len(cells) == 7
    assert {cell["state"] for cell in cells} == {"ready"}
    assert "7 cells: 7 ready" in err


def test_a_data_set_of_no_use_is_told_before_anything_runs(kdbench, kitti_tree):
    (kitti_tree / "ImageSets/val.txt").write_text("")
    code, out, err = kdbench("--methods", "none")
    assert (code, out) == (4, "")
    assert "ImageSets/val.txt: lists no frame" in err


def test_real_frames_are_looked_at_before_anything_runs(kdbench, kitti_tree, tmp_path):
    code, out, err = kdbench("--methods", "none", "--transfer", tmp_path, "--json", "-")
    assert (code, out) == (4, "") and "ImageSets" in err
    code, _, err = kdbench("--methods", "none", "--transfer", kitti_tree)
    assert code == 2 and "learned from these frames itself" in err


def test_the_plan_of_a_file_and_what_the_command_line_says_over_it(kdbench, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "methods: [fitnet, {name: kd, variant: mse}]\nratios: [4, 16]\nseeds: [3]\n"
        "set: {train.steps: 9}\n"
    )
    code, out, _ = kdbench(path, "--json", "-")
    assert code == 0
    assert len(json.loads(out)) == 1 + 2 * 3
    code, out, _ = kdbench(path, "--ratios", "4", "--json", "-")
    assert len(json.loads(out)) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which methods"),
        (["--methods", "kdd"], "did you mean 'kd'"),
        (["--methods", "kd", "--detectors", "pointpilars"], "did you mean 'pointpillars'"),
        (["--methods", "kd", "--ratios", "four"], "ratios: 'four' is not a number"),
        (["--methods", "kd", "--seeds", "x"], "seeds: 'x' is not a whole number"),
        (["--methods", ","], "methods: the list is empty"),
        (["--methods", "kd", "--ratios", "0"], "ratio must be a number of at least 1, not 0"),
        (["--methods", "kd", "--seeds", "0"], "seeds: 0 is too few"),
        (["--methods", "kd", "--seeds", "0,-1"], "seeds: one is below 0"),
        (["absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(kdbench, arguments, message):
    code, _, err = kdbench(*arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: kd\n", "did you mean 'methods'"),
        ("methods: [kd\nratios: [4]\n", "not valid YAML"),
        ("methods: []\n", "methods: the list is empty"),
        ("methods: kd\nratios:\n", "ratios: the list is empty"),
        ("methods: [{nam: kd}]\n", "is neither a name nor"),
        ("methods: [4]\n", "methods: 4 is neither a name nor"),
        ("methods: kd\nseeds: 2.5\n", "seeds: 2.5 is not a whole number"),
        ("methods: kd\nset: [train.steps]\n", "set: expected"),
        ("methods: kd\nset: {train.stepps: 4}\n", "did you mean 'train.steps'"),
    ],
)
def test_mistakes_in_a_file_get_one_line(kdbench, tmp_path, text, message):
    (tmp_path / "sweep.yaml").write_text(text)
    code, _, err = kdbench(tmp_path / "sweep.yaml")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_results_that_cannot_be_written(kdbench, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = kdbench("--methods", "kd", "--results", tmp_path / "file" / "results")
    assert code == 1
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("value", "threads", "gpus", "jobs"),
    [("auto", None, 0, 4), ("auto", "2", 0, 2), ("auto", "9", 0, 1), ("auto", None, 3, 3),
     ("2", None, 0, 2)],
)  # fmt: skip
def test_jobs_are_one_a_core_or_one_a_gpu(monkeypatch, value, threads, gpus, jobs):
    monkeypatch.setattr("kdbench.cli.sweep.cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert jobs_asked(value, gpus) == jobs


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_number_of_jobs_that_is_none(value):
    with pytest.raises(UsageError, match="jobs: "):
        jobs_asked(value, 0)

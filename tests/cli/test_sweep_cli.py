"""`kdbench sweep` as a person meets it; nothing is trained here."""

import json

import pytest

from kdbench.cli import main


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
        (["--methods", "kd", "--seeds", "x"], "seeds: 'x' is not a number"),
        (["absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(kdbench, arguments, message):
    code, _, err = kdbench(*arguments)
    assert code == 2
    assert message in err


def test_a_key_that_a_file_cannot_have(kdbench, tmp_path):
    (tmp_path / "sweep.yaml").write_text("method: kd\n")
    code, _, err = kdbench(tmp_path / "sweep.yaml")
    assert code == 2
    assert "did you mean 'methods'" in err

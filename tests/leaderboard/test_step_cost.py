"""`kdbench step-cost`: quotients beside the records, timed once."""

import json

import pytest
from click.testing import CliRunner

from kdbench.cli.step_cost import step_cost_command
from kdbench.errors import KdbenchError
from kdbench.leaderboard.rows import leaderboard
from kdbench.runs.records import read_records, write_record
from kdbench.runs.settings import build_spec
from kdbench.runs.step_costs import NAME, read_step_costs, step_key


def spec(method, seed=0, **overrides):
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    if method == "pointdistiller":
        named |= {"method.n": 50, "method.k": 4}
    return build_spec(
        profile="tiny", dataset="kitti", method=method, ratio=4, seed=seed, overrides=named
    )


@pytest.fixture
def results(tmp_path, monkeypatch, record):
    """Records of `none`, and of a method with two seeds and two numbers of steps."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "results"
    for one in (spec("none"), spec("fitnet"), spec("fitnet", 1), spec("fitnet", train__steps=2)):
        write_record(folder, record(one, 40.0))
    return folder


def timed(results, root, *more):
    arguments = ["--results", str(results), "--data-root", str(root), "--turns", "3", *more]
    return CliRunner().invoke(step_cost_command, [*arguments, "--json", "-"])


def test_a_method_is_timed_once_whatever_its_seeds_and_steps(results, kitti_tree):
    done = timed(results, kitti_tree)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert (found["method"], found["cell"], found["turns"]) == ("fitnet", "pointpillars-x4", 3)
    assert min(found["ratio"], found["seconds"], found["plain"]) > 0
    assert {"cpu", "threads", "date"} <= set(found)
    costs = read_step_costs(results)
    assert set(costs) == {step_key(spec("fitnet"))}
    assert json.loads(timed(results, kitti_tree).stdout) == [found]  # not timed again
    row = next(r for r in leaderboard(read_records(results), costs) if r["method"] == "fitnet")
    assert row["cost"] == found["ratio"]


def test_the_synthetic_frames_are_timed_too_and_again_if_asked(tmp_path, monkeypatch, record):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "results"
    fitnet = build_spec(profile="tiny", method="fitnet", ratio=4)
    write_record(folder, record(fitnet, 40.0))
    arguments = ["--results", str(folder), "--turns", "3", "--json", "-"]
    first, kept, again = (
        json.loads(CliRunner().invoke(step_cost_command, [*arguments, *more]).stdout)[0]
        for more in ([], [], ["--again"])
    )
    assert first == kept and first["seconds"] != again["seconds"]
    assert read_step_costs(folder)[step_key(fitnet)]["seconds"] == again["seconds"]


def test_what_cannot_be_timed_is_an_error_and_keeps_the_rest(results, kitti_tree, tmp_path):
    known = json.loads(timed(results, kitti_tree).stdout)
    done = timed(results, tmp_path / "nothing", "--again")
    assert "not timed" in str(done.exception)
    assert [read_step_costs(results)[step_key(spec("fitnet"))]["ratio"]] == [known[0]["ratio"]]


def test_what_a_step_costs_depends_on_method_batch_and_precision():
    keys = {
        step_key(one)
        for one in (
            spec("fitnet"), spec("fitnet", 3), spec("kd"), spec("fitnet", train__batch_size=2),
            spec("fitnet", train__precision="bfloat16"), spec("fitnet", train__lr=0.1),
        )
    }  # fmt: skip
    assert len(keys) == 4


def test_a_damaged_file_and_a_folder_without_methods_are_told(results, kitti_tree, tmp_path):
    (results / NAME).write_text('{"a": 1}')
    assert "not what `kdbench step-cost` writes" in str(timed(results, kitti_tree).exception)
    with pytest.raises(KdbenchError, match="step-costs.json"):
        read_step_costs(results)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no record of a method" in str(timed(empty, kitti_tree).exception)

"""`kdbench compare` as a person and a workflow meet it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml

from kdbench.cli import COMMANDS, group, main
from kdbench.cli.compare import Percentage
from kdbench.runs.records import SCHEMA, write_record
from kdbench.runs.settings import build_spec

SPEC = build_spec(method="kd", ratio=4)
WORKFLOW = Path(__file__).resolve().parents[2] / ".github/workflows/kdbench.yml"


def record(spec=SPEC, bev=40.0, p50=10.0) -> dict:
    ap = {m: {"R40": [0, bev, 0]} for m in ("bev", "3d")}
    return {
        "schema": SCHEMA,
        "hash": spec.hash,
        "spec": spec.to_dict(),
        "metrics": {"bev_map": bev, "3d_map": bev, "kitti": {"car": ap}},
        "cost": {"parameters": 1000, "macs": 10**6},
        "latency": {"p50": p50, "contention": 0.0},
        "training": {},
    }


@pytest.fixture
def gate(capsys, tmp_path, monkeypatch):
    """Compares two lists of records; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(base, new, *options):
        for side, records in (("base", base), ("new", new)):
            for made in records:
                write_record(tmp_path / side, made)
        with pytest.raises(SystemExit) as stop:
            main(["compare", "base", "new", *options])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def test_no_regression(gate):
    code, out, err = gate([record()], [record()])
    assert code == 0
    assert out.splitlines()[-1] == "No regression: 1 run in 1 cell compared."
    assert "BEV mAP" in out and "error" not in err


def test_a_regression_fails_with_one_line(gate):
    code, out, err = gate([record()], [record(bev=39.0)])
    assert code == 1
    assert "regression" in out
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert errors[0].startswith("error: 4 regressions: BEV mAP 40.00 -> 39.00 in kd (bce)")
    assert "note: noise unknown" in err and "Traceback" not in err


def test_a_run_that_is_gone_fails_and_is_named(gate):
    other = record(replace(SPEC, seed=1))
    code, out, err = gate([record(), other], [record()])
    assert code == 1
    assert "No regression, but 1 run of BASE not compared: kd pointpillars-x4 seed 1" in out
    assert f"not compared: kd pointpillars-x4 seed 1 ({other['hash']}): missing from NEW" in err
    assert gate([], [], "--allow-missing")[0] == 0


def test_a_run_that_is_gone_from_an_empty_folder_is_named(gate, tmp_path):
    (tmp_path / "new").mkdir()
    code, _, err = gate([record()], [])
    assert code == 2
    assert "no records in it; BASE has 1 run (kd pointpillars-x4 seed 0)" in err


def test_a_run_that_is_there_twice_fails_and_is_named(gate, tmp_path):
    other = record(replace(SPEC, seed=1))
    path = write_record(tmp_path / "new", record())
    path.with_stem(path.stem + " (copy)").write_text(path.read_text())
    code, _, err = gate([record(), other], [other])
    assert code == 1
    assert f"kd pointpillars-x4 seed 0 ({SPEC.hash}): 2 times in NEW" in err


def test_a_run_over_other_frames_is_no_pass(gate):
    other = record(replace(SPEC, seed=1))
    new = json.loads(json.dumps(other))
    new["metrics"]["frames"] = 8
    code, _, err = gate([record(), other], [record(), new])
    assert code == 1
    assert "seed 1" in err and "number of frames None against 8" in err


def test_a_record_of_a_newer_version_is_named_and_does_not_stop(gate, tmp_path):
    for side in ("base", "new"):
        path = write_record(tmp_path / side, record(replace(SPEC, seed=1)))
        path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 99'))
    code, out, err = gate([record()], [record()])
    assert code == 0
    assert out.splitlines()[-1] == "No regression: 1 run in 1 cell compared."
    assert err.count("record schema 99") == 2 and "left out: " in err


def test_the_limits_can_be_set(gate):
    slower = record(bev=39.0, p50=11.5)
    assert gate([record()], [slower], "--max-drop", "1", "--max-slowdown", "15.1%")[0] == 0
    assert gate([record()], [slower], "--max-drop", "1")[0] == 1
    assert gate([record()], [slower], "--max-slowdown", "15.1%")[0] == 1


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ([], "new: no such folder of results"),
        ([record(replace(SPEC, device="cuda"))], "no run in common: device cpu against cuda"),
        ([record(replace(SPEC, profile="standard"))], "profile quick against standard"),
        ([record() | {"latency": {}}], "lacks what is compared"),
        ([record() | {"schema": 99}], "record schema 99"),
    ],
)
def test_what_cannot_be_compared_says_why_in_one_line(gate, new, message):
    code, out, err = gate([record()], new, "--markdown", "-")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1 and err.startswith("error: ")


@pytest.mark.parametrize("wrong", ["0.1", "10", "ten%", "-5%", "%"])
def test_a_slowdown_is_a_percentage(gate, wrong):
    code, _, err = gate([record()], [record()], "--max-slowdown", wrong)
    assert code == 2
    assert f"'{wrong}' is not a percentage such as 10%" in err


def test_percentages():
    convert = Percentage().convert
    assert [convert(x, None, None) for x in ("10%", "0%", " 2.5% ")] == [0.1, 0.0, 0.025]
    with pytest.raises(click.UsageError):
        convert("1e1%", None, None)


def test_markdown_and_json(gate, tmp_path):
    code, out, _ = gate([record()], [record(bev=41.0)], "--markdown", "-", "--json", "out.json")
    assert code == 0
    assert out.startswith("**No regression: 1 run in 1 cell compared.**\n")
    assert "| BEV mAP | 40.00 | 41.00 | +1.00 |  | ✅ improvement |" in out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["regressions"] == 0
    (cell,) = found["cells"]
    assert cell["changes"][0] == {
        "figure": "bev_map", "base": 40.0, "new": 41.0, "verdict": "improvement",
        "low": None, "high": None, "p": None,
    }  # fmt: skip
    code, out, _ = gate([], [record(bev=39.0)], "--markdown", "page.md", "--json", "-")
    assert code == 1
    assert json.loads(out)["regressions"] == 4
    assert "❌ regression" in (tmp_path / "page.md").read_text()


def test_standard_output_holds_one_thing(gate):
    code, out, err = gate([record()], [record()], "--markdown", "-", "--json", "-")
    assert (code, out) == (2, "")
    assert "both want standard output" in err


# The workflow.


@pytest.fixture(scope="module")
def steps() -> list[dict]:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow[True].keys() == {"push", "pull_request"}  # YAML reads `on` as True
    (job,) = workflow["jobs"].values()
    return job["steps"]


def test_every_step_of_the_workflow_does_one_thing(steps):
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert all(re.fullmatch(r"[\w/-]+@v\d+", step["uses"]) for step in steps if "uses" in step)


def test_the_workflow_uses_commands_and_options_that_exist(steps):
    script = "\n".join(step.get("run", "") for step in steps)
    calls = re.findall(r"kdbench (\w+) (.*)", script)
    assert {name for name, _ in calls} == {"run", "compare"}
    for name, arguments in calls:
        assert name in COMMANDS
        known = {option for p in group.get_command(None, name).params for option in p.opts}
        assert set(re.findall(r"--[\w-]+", arguments)) <= known


def test_the_workflow_compares_what_it_ran_and_saves_what_it_restores(steps):
    script = "\n".join(step.get("run", "") for step in steps)
    assert "--results new" in script and "compare base new" in script
    cached = {
        step["uses"].split("@")[0]: step["with"] for step in steps if "key" in step.get("with", {})
    }
    restored, saved = cached["actions/cache/restore"], cached["actions/cache/save"]
    assert restored["path"] == saved["path"]
    assert restored["key"] == saved["key"]
    # Trained weights of the main branch would be taken for those of the request.
    assert not any("runs" in step["path"] for step in cached.values())

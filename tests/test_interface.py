"""`import kdbench`: light, whole, typed, and as its page says."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import kdbench
from kdbench.cli import COMMANDS, group
from kdbench.cli.run import DEFAULTS
from kdbench.errors import Note
from kdbench.runs import published

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "pandas", "numba")
POINTS = "kitti/training/velodyne/000002.bin"


def heavy_after(code: str) -> str:
    """The heavy packages that a new Python has imported after `code`."""
    code += f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.fixture
def place(tmp_path, monkeypatch, kitti_tree):
    """A folder with a KITTI tree, a home and published runs of its own."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def record(place):
    return kdbench.run(
        method="none", profile="tiny", dataset="kitti", data_root="kitti", quiet=True
    )


def test_the_import_is_light_until_a_function_is_used():
    assert heavy_after("import kdbench; dir(kdbench); kdbench.__version__") == "[]"
    assert heavy_after("import kdbench; kdbench.load_model") == str(list(HEAVY))


def test_help_is_as_light():
    code = "from kdbench.cli import group\ngroup.main(['--help'], standalone_mode=False)"
    assert heavy_after(code) == "[]"


def test_commands_are_listed_when_all_are_loaded():
    context = click.Context(group)
    assert all(group.get_command(context, name) for name in COMMANDS)
    assert group.list_commands(context) == [*COMMANDS]


def test_type_checkers_see_what_there_is():
    (block,) = [x for x in ast.parse(inspect.getsource(kdbench)).body if isinstance(x, ast.If)]
    assert [alias.name for alias in block.body[0].names] == kdbench.__all__
    assert (ROOT / "kdbench/py.typed").exists()
    assert all(callable(getattr(kdbench, name)) for name in kdbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_modell'"):
        kdbench.load_modell  # noqa: B018


def test_a_run_has_the_defaults_of_the_command():
    parameters = inspect.signature(kdbench.run).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS


def test_the_examples_of_the_page_run_and_show_every_function(place, capsys):
    page = (ROOT / "docs/python.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    assert all(f"kdbench.{name}(" in code for name in kdbench.__all__ if name.islower())
    with pytest.warns(Note, match="5 of 6 frames have no result file"):
        exec(compile(code, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    assert "('Car', 'Pedestrian', 'Cyclist')" in out and "'neck': (1, 192," in out


def test_a_model_detects_what_its_run_did(record, place):
    model = kdbench.load_model(record)
    with np.load(place / f"home/runs/{record['hash']}/detections.npz") as kept:
        first = slice(0, int(kept["counts"][0]))
        boxes, scores, labels = (kept[name][first] for name in ("boxes", "scores", "labels"))
    found = model.predict(np.fromfile(POINTS, np.float32).reshape(-1, 4))
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    assert found.classes.tolist() == [model.classes[i] for i in labels]


def test_a_model_is_named_by_path_record_or_hash(record, place, monkeypatch):
    (path,) = place.glob("results/*/*/none/*.json")
    weights = kdbench.load_model(record).detector.state_dict()["head.outputs.weight"]
    other = path.parents[4] / "published" / path.relative_to(place / "results")
    other.parent.mkdir(parents=True)
    other.write_text(path.read_text())
    for name in (path, str(path), json.loads(path.read_text()), record["hash"]):
        found = kdbench.load_model(name).detector.state_dict()["head.outputs.weight"]
        assert (found == weights).all()
    (row,) = kdbench.list_models()
    assert (row["name"], row["hash"]) == ("pointpillars-x4/none", record["hash"])
    assert kdbench.load_model(row["name"]).record == json.loads(path.read_text())
    with pytest.raises(kdbench.KdbenchError, match="did you mean 'pointpillars-x4/none'"):
        kdbench.load_model("pointpillars-x4/nome")


def test_an_empty_cloud_has_no_detections_and_a_wrong_shape_is_told(record):
    model = kdbench.load_model(record)
    assert len(model.predict(np.zeros((0, 4))).scores) == len(model.predict([[0, 0, 0, 0]]).scores)
    for points in (np.zeros((5, 3)), np.zeros(4), np.array([["a"] * 4])):
        with pytest.raises(kdbench.KdbenchError, match=r"an array \(n, 4\)"):
            model.predict(points)


def test_damaged_records_are_left_out_of_a_leaderboard(record, place):
    (place / "results/kitti/pointpillars-x4/none/seed1-0000000000.json").write_text("{")
    with pytest.warns(Note, match="left out: .*seed1"):
        table = kdbench.read_leaderboard("results")
    assert table["bev_map"].tolist() == [record["metrics"]["bev_map"]]


def test_mistakes_are_one_line(place):
    for call in (
        lambda: kdbench.run(method="kdd"),
        lambda: kdbench.read_leaderboard("results"),
        lambda: kdbench.load_model({"schema": 2}),
        lambda: kdbench.load_model("absent.json"),
        lambda: kdbench.evaluate("absent", {}),
        lambda: kdbench.evaluate({"1": "Car 0 0"}, {}),
    ):
        with pytest.raises(kdbench.KdbenchError) as stop:
            call()
        assert len(str(stop.value).splitlines()) == 1

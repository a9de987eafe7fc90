"""`kdbench new`: what it writes passes `kdbench check` and its own test, unchanged."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from kdbench.registry import datasets, detectors, methods

REGISTRIES = {"method": methods, "detector": detectors, "dataset": datasets}
each_kind = pytest.mark.parametrize("kind", REGISTRIES)


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_found", dict(registry._found))


@each_kind
def test_what_it_writes_passes_the_check_and_its_own_test(kdbench, kind, tmp_path):
    code, _, err = kdbench("new", kind, "my-own")
    assert code == 0
    command = re.search(r"next: kdbench (check .*)", err).group(1).split()
    only = ["--detector", "pointpillars"] if kind == "method" else []
    code, out, err = kdbench(*command, *only)
    assert code == 0 and "my-own" in out and " ok " in out, err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=tmp_path / "my-own",
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout


def test_a_run_on_a_new_data_set_with_a_new_detector(kdbench):
    kdbench("new", "detector", "own")
    kdbench("new", "dataset", "ours")
    files = ["--plugin", "own/kdbench_own.py", "--plugin", "ours/kdbench_ours.py"]
    names = ["--dataset", "ours", "--detector", "own", "--method", "kd", "--profile", "tiny"]
    code, _, err = kdbench("run", *names, *files)
    assert code == 0, err


@each_kind
@pytest.mark.parametrize("name", ["3d", "My_method-2.1", "_", "x" * 64, "none-more", "true"])
def test_any_name_that_is_allowed_gives_a_package(kdbench, kind, name, tmp_path):
    assert kdbench("new", kind, name)[0] == 0
    project = tomllib.loads((tmp_path / name / "pyproject.toml").read_text())
    target = project["project"]["entry-points"][f"kdbench.{kind}s"][name]
    module, _, cls = target.partition(":")
    assert module in project["tool"]["setuptools"]["py-modules"]
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", project["project"]["name"])
    texts = {p.name: p.read_text() for p in (tmp_path / name).rglob("*") if p.is_file()}
    trees = {file: ast.parse(text) for file, text in texts.items() if file.endswith(".py")}
    assert cls.isidentifier() and f"name = {name!r}".replace("'", '"') in texts[f"{module}.py"]
    assert cls in {node.name for node in trees[f"{module}.py"].body if hasattr(node, "name")}
    assert set(trees) == {f"{module}.py", f"test_{module}.py"}
    steps = [s.get("run") for s in yaml.safe_load(texts["test.yml"])["jobs"]["test"]["steps"]]
    assert f"kdbench check --kind {kind} {name}" in steps and "python -m pytest" in steps
    assert not re.search(r"\$(?!\{\{)", "".join(texts.values()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("method", "kd"), "method 'kd' is registered twice"),
        (("method", "KD"), "the name is taken (as 'kd', but for case)"),
        (("detector", "second"), "detector 'second' is registered twice"),
        (("dataset", "../outside"), "a name goes into paths"),
        (("method", "all"), "a reserved name"),
        (("method", "nul.txt"), "Windows has no file of that name"),
        (("dataset", "there"), "there: is there already"),
        (("loss", "mine"), "'loss' is not one of"),
    ],
)
def test_what_cannot_be_is_one_line(kdbench, arguments, message, tmp_path):
    (tmp_path / "there").mkdir()
    code, _, err = kdbench("new", *arguments)
    assert code == 2 and message in err
    assert [path.name for path in Path(tmp_path).iterdir() if path.is_dir()] == ["there"]

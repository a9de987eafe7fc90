"""What continuous integration calls is there, for every Python that is supported."""

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.packaging.test_python_versions import OLDEST, WITH_WHEELS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))


def jobs(path: Path) -> list[dict]:
    return list(yaml.safe_load(path.read_text())["jobs"].values())


def commands(path: Path) -> list[str]:
    """The lines of a script, or of the steps of a workflow."""
    if path.suffix != ".yml":
        return path.read_text().splitlines()
    steps = [step for job in jobs(path) for step in job["steps"]]
    return [line.strip() for step in steps for line in step.get("run", "").splitlines()]


def targets(path: Path) -> set[str]:
    return {line.split()[1] for line in commands(path) if line.startswith("make ")}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_and_scripts_that_exist(path):
    assert targets(path) <= TARGETS
    scripts = [line.split()[0] for line in commands(path) if line.startswith(".ci/")]
    assert targets(path) or scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_every_python_that_is_supported_lints_tests_and_builds_the_pages():
    path = ROOT / ".github/workflows/test.yml"
    (job,) = jobs(path)
    assert commands(path) == [".ci/run"]
    assert targets(ROOT / ".ci/run") == {"test", "docs"} <= TARGETS
    assert "test: lint" in (ROOT / "Makefile").read_text()
    assert job["strategy"]["matrix"]["python"] == [".".join(map(str, OLDEST)), *WITH_WHEELS]

"""Which Pythons the project is for: its grammar, its pins, and whether these have wheels."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
OLDEST = (3, 11)
WITH_WHEELS = ["3.12", "3.13"]  # newer ones, that every pin has a wheel for
FOLDERS = ("kdbench", "methods", "detectors", "datasets", "results", "tests", "docs")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
# Compiled by whoever wants it (`[scatter]`), of a cluster (`[ray]`), or of CUDA (`[spconv]`).
UNPINNED = {"torch-scatter", "ray", "spconv-cu120", "spconv-cu126"}


def parsed(text: str, name: str = "<text>") -> ast.Module:
    """A file's tree by the grammar of the oldest Python. Raises SyntaxError."""
    return ast.parse(text, name, feature_version=OLDEST)


def pins() -> dict[str, str]:
    """Package -> version of constraints.txt."""
    lines = (REPOSITORY / "constraints.txt").read_text().split()
    pairs = (line.split("==") for line in lines)
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_file_is_of_the_grammar_of_the_oldest_python():
    files = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 400
    for path in files:
        parsed(path.read_text(), str(path))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python knows nothing newer")
@pytest.mark.parametrize("text", ["type X = int", "def f[T](x: T): ...", "class A[T]: ..."])
def test_newer_grammar_would_be_found(text):
    with pytest.raises(SyntaxError):
        parsed(text)


def test_the_oldest_python_is_the_one_that_is_required():
    required = SpecifierSet(PROJECT["project"]["requires-python"])
    assert "3.11.0" in required and "3.10.99" not in required
    assert "3.12.0" in required and "3.13.0" in required
    assert PROJECT["tool"]["ruff"]["target-version"] == "py311"


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    project = PROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    known = pins()
    for requirement in map(Requirement, project["dependencies"] + extras):
        name = canonicalize_name(requirement.name)
        if name not in UNPINNED:
            assert known[name] in requirement.specifier, requirement


@pytest.mark.slow
@pytest.mark.parametrize("version", WITH_WHEELS)
def test_every_pinned_package_has_a_wheel(version):
    """Asks the package index of pip's configuration which wheels there are; downloads none."""

    def versions(name: str) -> list[str]:
        command = [sys.executable, "-m", "pip", "index", "versions", name]
        command += ["--only-binary=:all:", "--python-version", version]
        done = subprocess.run(command, capture_output=True, text=True)
        return re.findall(r"[\w.!+]+", done.stdout.partition("Available versions:")[2])

    if not versions("pip"):
        pytest.skip("no package index can be reached")
    absent = [name for name, pin in pins().items() if pin not in versions(name)]
    assert not absent, f"no wheel for Python {version}: {absent}"

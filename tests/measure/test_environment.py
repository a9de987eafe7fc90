"""The environment is always told, with or without git."""

import json
import platform
import subprocess

import torch

import kdbench
from kdbench.measure import environment as module
from kdbench.measure.environment import code_version, environment

KEYS = [
    "kdbench", "commit", "dirty", "python", "platform", "torch", "numpy", "cuda", "device",
    "cpu", "cores", "threads",
]  # fmt: skip


def checkout(folder, track=True):
    """A git repository that holds an installed package."""
    package = folder / "kdbench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if not track:
        (folder / ".gitignore").write_text("kdbench\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (
        ["init", "-q"],
        ["add", "."],
        [*identity, "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return package / "__init__.py"


def test_keys_are_stable_and_plain():
    found = environment("cpu")
    assert list(found) == KEYS
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert found["torch"] == str(torch.__version__)
    assert found["device"] == found["cpu"] != ""
    assert found["threads"] == torch.get_num_threads()


def test_commit_and_changes_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(kdbench, "__file__", str(checkout(tmp_path)))
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    assert code_version() == {"commit": head, "dirty": False}
    (tmp_path / "record.json").write_text("{}")  # a result is no change of the code
    assert code_version()["dirty"] is False
    (tmp_path / "method.py").write_text("")
    assert code_version()["dirty"] is True


def test_a_package_inside_another_project_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(kdbench, "__file__", str(checkout(tmp_path, track=False)))
    assert code_version() == {"commit": None, "dirty": None}


def test_no_checkout(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(kdbench, "__file__", str(tmp_path / "__init__.py"))
    assert code_version() == {"commit": None, "dirty": None}


def test_no_git(monkeypatch):
    def absent(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", absent)
    assert environment("cpu")["commit"] is None

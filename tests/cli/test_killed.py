"""Commands killed at any moment: the same command afterwards ends as an undisturbed one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kdbench.runs.records import write_record
from kdbench.runs.settings import build_spec
from tests.leaderboard.conftest import make_record

COMMANDS = {
    "synth": ["data", "synth", "--out", "out", "--frames", "6", "--workers", "1"],
    "report": ["report", "--results", "results", "--out", "out", "--no-pictures"],
}


def start(name: str, folder: Path) -> subprocess.Popen:
    """Starts a command in a folder with what it needs."""
    if name == "report" and not (folder / "results").exists():
        spec = build_spec(method="kd", ratio=4.0)
        for run, bev in ((spec, 45.0), (spec.baseline(), 40.0), (spec.teacher_run(), 60.0)):
            write_record(folder / "results", make_record(run, bev) | {"date": None})
    environment = os.environ | {"KDBENCH_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "kdbench", *COMMANDS[name]], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> None:
    _, error = process.communicate()
    assert process.returncode == 0, error


def written(folder: Path) -> dict[str, bytes]:
    """What a person finds: not the temporary files that a killed process leaves."""
    files = (path for path in sorted((folder / "out").rglob("[!.]*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def undisturbed(name: str, folder: Path) -> tuple[dict[str, bytes], float]:
    """What a command writes, and how many seconds it takes."""
    folder.mkdir()
    began = time.monotonic()
    finish(start(name, folder))
    return written(folder), time.monotonic() - began


def killed(name: str, folder: Path, whole: dict, moments, how=signal.SIGKILL) -> int:
    """Kills a command at moments, in seconds, and returns how often it was in time.

    No file is ever half there. The same command is then run to its end.
    """
    kills = 0
    for moment in moments:
        process = start(name, folder)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, how)
            kills += 1
        process.communicate()
        for path, data in written(folder).items():
            assert data == whole[path], f"{path} after {moment:.2f} s"
    finish(start(name, folder))
    return kills


def test_once(tmp_path):
    whole, seconds = undisturbed("synth", tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    killed("synth", folder, whole, [0.9 * seconds])
    assert whole and written(folder) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_many_times(name, how, tmp_path):
    whole, seconds = undisturbed(name, tmp_path / "whole")
    rng, kills = np.random.default_rng(0), 0
    for i in range(5):
        folder = tmp_path / str(i)
        folder.mkdir()
        kills += killed(name, folder, whole, rng.uniform(0.1, 1.1, 3) * seconds, how)
        assert whole and written(folder) == whole
    assert kills


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_at_once(name, tmp_path):
    whole, _ = undisturbed(name, tmp_path / "whole")
    folder = tmp_path / "both"
    folder.mkdir()
    both = [start(name, folder) for _ in range(2)]
    for process in both:
        finish(process)
    assert written(folder) == whole

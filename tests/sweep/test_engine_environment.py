"""What a cell's process is told of the machine: its GPU and its threads. Nothing is trained."""

import json
import subprocess
import sys

import pytest

from kdbench.runs.spec import RunSpec
from kdbench.sweep import local
from kdbench.sweep.local import LocalEngine
from kdbench.sweep.plan import Cell

TELL = "import json, os; print(json.dumps({k: os.environ.get(k) for k in NAMES}))"
NAMES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Starts as many cells as there are jobs; gives what each was told, by name."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    line = [sys.executable, "-c", TELL.replace("NAMES", repr(NAMES))]
    monkeypatch.setattr(local, "command", lambda *_: line)
    monkeypatch.setattr(local, "cores", lambda: 8)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def run(jobs, gpus=0):
        engine = LocalEngine(tmp_path, jobs=jobs, gpus=gpus)
        for seed in range(jobs):
            engine.start(Cell(RunSpec(seed=seed)))
        assert not engine.free()
        for _, process, _ in engine.running:
            process.wait()
        ended = sorted(engine.finished(), key=lambda end: end[0].spec.seed)
        assert [code for _, code, _ in ended] == [0] * jobs
        lines = [json.loads(said) for *_, said in ended]
        return {name: [line[name] for line in lines] for name in NAMES}

    return run


@pytest.mark.parametrize(("jobs", "threads"), [(1, "8"), (3, "2")])
def test_jobs_share_the_cores(told, jobs, threads):
    found = told(jobs)
    assert found["OMP_NUM_THREADS"] == [threads] * jobs
    assert found["CUDA_VISIBLE_DEVICES"] == [None] * jobs


def test_jobs_take_turns_on_the_gpus(told):
    assert told(3, gpus=2)["CUDA_VISIBLE_DEVICES"] == ["0", "1", "0"]


def test_given_gpus_and_threads_are_kept(told, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = told(2, gpus=2)
    assert found == {"OMP_NUM_THREADS": ["7", "7"], "CUDA_VISIBLE_DEVICES": ["5", "3"]}


def test_a_cell_runs_this_kdbench_even_beside_another(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    other = tmp_path / "kdbench" / "__init__.py"
    other.parent.mkdir()
    other.write_text("raise SystemExit('another kdbench')")
    engine = local.LocalEngine(tmp_path, transfer="real")
    line = local.command(engine, Cell(RunSpec()), tmp_path)
    assert line[line.index("--transfer") + 1] == "real"
    asked = [*line[: line.index("--spec")], "--help"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: kdbench run" in done.stdout

"""`torchrun -m kdbench run`, as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kdbench.runs import store
from kdbench.runs.records import read_records
from kdbench.runs.spec import RunSpec

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

# In one of two processes, the method fails at the second step.
FAILS = """
import torch.distributed as dist
from kdbench.method import Method

class Fails(Method):
    name = "fails"
    teacher = "none"
    steps = 0

    def forward(self, student, teacher, batch):
        self.steps += 1
        if self.steps == 2 and dist.get_rank() == 1:
            raise ValueError("too bad")
        return {}
"""


@pytest.fixture
def start(tmp_path, kitti_tree):
    """Starts a tiny run by torchrun, or by one process, in a folder of its own."""

    def run(name, *arguments, launcher=TORCHRUN):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        own = {"KDBENCH_HOME": place / "home", "OMP_NUM_THREADS": 1, "PYTHONPATH": REPOSITORY}
        line = [sys.executable, *launcher, "-m", "kdbench", "run", "--profile", "tiny", "--ratio"]
        line += ["16", "--dataset", "kitti", "--data-root", kitti_tree, "--results", "results"]
        line += ["--set", "teacher.steps=1", *arguments]
        return subprocess.Popen(
            [str(part) for part in line], cwd=place, text=True,
            env=os.environ | {k: str(v) for k, v in own.items()},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return run


def records(place, monkeypatch):
    """Record and weights by hash."""
    monkeypatch.setenv("KDBENCH_HOME", str(place / "home"))
    found = read_records(place / "results")
    return {r["hash"]: (r, store.load_trained(RunSpec.from_dict(r["spec"]))) for r in found}


def ended(process):
    """Exit code and standard error; kdbench's own lines of it."""
    _, said = process.communicate(timeout=1800)
    return process.returncode, said, [x for x in said.splitlines() if x.startswith("error:")]


def whole_state(detector) -> torch.Tensor:
    """All weights and statistics of a detector, one after the other."""
    return torch.cat([x.double().flatten() for x in detector.state_dict().values()])


def test_two_processes_make_the_records_of_one(start, tmp_path, monkeypatch):
    started = start("two", "--method", "fitnet"), start("one", "--method", "fitnet", launcher=[])
    for process in started:
        code, said, _ = ended(process)
        assert code == 0, said
    two, one = (records(tmp_path / name, monkeypatch) for name in ("two", "one"))
    assert set(two) == set(one) and len(one) == 3
    for key, (record, detector) in one.items():
        assert (record["training"]["processes"], two[key][0]["training"]["processes"]) == (1, 2)
        a, b = (whole_state(d) for d in (detector, two[key][1]))
        # AdamW turns rounding into a step where a gradient is near zero. Trainings with one thread
        # and with two come as far apart, a tenth of the way they went, which is an eighth of `a`.
        assert (a - b).norm() <= 2e-2 * a.norm()
    assert not list(tmp_path.glob("two/home/runs/*/checkpoint.pt"))


def test_ctrl_c_saves_once_and_the_same_command_goes_on(start, tmp_path, monkeypatch):
    arguments = ["--method", "none", "--set", "train.steps=60"]
    process = start("stopped", *arguments)
    wait_for_steps(tmp_path / "stopped", process)
    process.send_signal(signal.SIGINT)
    code, said, lines = ended(process)
    assert code != 0
    assert lines == ["error: stopped; the same command goes on from here"], said
    (checkpoint,) = tmp_path.glob("stopped/home/runs/*/checkpoint.pt")
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert 10 <= step < 60
    code, said, _ = ended(start("stopped", *arguments))
    assert code == 0, said
    assert said.count(f"goes on from step {step}") == 1
    assert ended(start("whole", *arguments))[0] == 0
    stopped, whole = (records(tmp_path / name, monkeypatch) for name in ("stopped", "whole"))
    assert {k: r["weights_sha256"] for k, (r, _) in stopped.items()} == {
        k: r["weights_sha256"] for k, (r, _) in whole.items()
    }


def wait_for_steps(place, process):
    """Until a log tells of the student's tenth step."""
    until = time.monotonic() + 1200
    while time.monotonic() < until and process.poll() is None:
        if any('"step": 10,' in path.read_text() for path in place.glob("home/runs/*/log.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError("no step came")


def test_a_frame_that_one_process_cannot_read_ends_all_with_one_line(start, kitti_tree):
    (kitti_tree / "training/velodyne/000004.bin").write_bytes(b"123")
    code, said, lines = ended(start("damaged", "--method", "none"))
    assert code != 0
    assert len(lines) == 1, said
    assert "000004.bin" in lines[0]


def test_a_process_that_fails_ends_all(start, tmp_path):
    (tmp_path / "fails.py").write_text(FAILS)
    code, said, lines = ended(
        start("fails", "--method", "fails", "--plugin", tmp_path / "fails.py")
    )
    assert code != 0
    assert "error: unexpected ValueError: too bad (run with --debug to see where)" in lines
    assert set(lines[1:]) <= {"error: another process of this run has ended; see what it said"}


def test_more_processes_than_frames_in_a_batch(start):
    code, _, lines = ended(start("many", "--method", "none", "--set", "train.batch_size=1"))
    assert code != 0
    assert lines == ["error: train.batch_size is 1: too few frames for 2 processes"]

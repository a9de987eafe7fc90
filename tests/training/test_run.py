import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from kdbench.errors import DataError, KdbenchError, NotApplicable, UsageError
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.records import read_records
from kdbench.runs.spec import RunSpec
from kdbench.training.run import Runner


def test_a_run_brings_its_teacher_and_its_baseline(make_runner, make_spec):
    runner = make_runner()
    record = runner.run(make_spec("pointdistiller"))
    spec = RunSpec.from_dict(record["spec"])
    done = {r["hash"] for r in read_records(runner.results)}
    assert done == {spec.hash, spec.teacher_run().hash, spec.baseline().hash}
    assert record["teacher"] == spec.teacher_run().hash
    path = runner.results / f"kitti/pointpillars-x4/pointdistiller/seed0-{spec.hash}.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(record))


def test_a_record_holds_what_it_should(make_runner, make_spec):
    record = make_runner().run(make_spec("fitnet"))
    assert record["cost"]["parameters"] == 1217320
    assert record["cost"]["method_parameters"] == 192 * 384 + 384
    assert record["cost"]["ratio"]["declared"] == 4
    assert set(record["metrics"]["kitti"]) == {"car", "pedestrian", "cyclist"}
    assert set(record["latency"]["stages"]) == {"voxelise", "network", "postprocess"}
    assert record["training"]["steps"] == 4
    assert record["training"]["peak_memory_bytes"] > 0
    assert record["environment"]["torch"] == torch.__version__


def test_what_is_done_is_not_done_again_unless_forced(make_runner, make_spec, monkeypatch):
    spec = make_spec("none", ratio=1.0)
    first = make_runner().run(spec)
    carried_out = []
    original = Runner._carry_out
    monkeypatch.setattr(
        Runner, "_carry_out", lambda *a: carried_out.append(a[1].hash) or original(*a)
    )
    assert make_runner().run(spec) == first
    assert carried_out == []
    again = make_runner(force=True).run(spec)
    assert carried_out == [first["hash"]]
    assert again["weights_sha256"] == first["weights_sha256"]


def test_a_training_that_lost_its_record_is_not_trained_again(make_runner, make_spec, monkeypatch):
    runner = make_runner()
    record = runner.run(make_spec("none", ratio=1.0))
    next(runner.results.glob("**/seed*.json")).unlink()
    monkeypatch.setattr("kdbench.training.run.Training", None)
    assert runner.run(make_spec("none", ratio=1.0))["metrics"] == record["metrics"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_teacher_is_trained_again_with_a_warning(make_runner, make_spec, capsys, damage):
    teacher = RunSpec.from_dict(make_runner().run(make_spec("kd"))["spec"]).teacher_run()
    before = store.checksum(store.load_trained(teacher).state_dict())
    path = store.weights_path(teacher)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes(whole[:middle] if damage == "truncated" else flipped)
    runner = make_runner()
    runner.reporter.console.quiet = False
    runner.run(make_spec("fitnet"))
    assert "warning" in capsys.readouterr().err
    assert store.checksum(store.load_trained(teacher).state_dict()) == before


def test_weights_are_refused_when_they_are_another_network(make_runner, make_spec):
    record = make_runner().run(make_spec("none", ratio=4.0))
    spec = RunSpec.from_dict(record["spec"])
    other = replace(spec, detector=replace(spec.detector, ratio=16.0))
    path = store.weights_path(other)
    path.parent.mkdir(parents=True)
    path.write_bytes(store.weights_path(spec).read_bytes())
    with pytest.raises(DataError, match="cannot be used as weights"):
        store.load_trained(other)


class NeedsPoints(Method):
    name = "needs-points"
    needs = ("point",)


def test_a_method_whose_taps_are_missing_is_not_applicable(make_runner, make_spec, monkeypatch):
    monkeypatch.setitem(methods._found, "needs-points", NeedsPoints)
    with pytest.raises(NotApplicable, match="not applicable: needs point; detector 'pointp"):
        make_runner().run(make_spec("needs-points"))


def test_results_that_cannot_be_written_are_found_before_training(make_spec, kitti_tree, tmp_path):
    (tmp_path / "file").write_text("")
    runner = Runner(tmp_path / "file" / "results", str(kitti_tree))
    with pytest.raises(KdbenchError, match="cannot be written"):
        runner.run(make_spec())


def test_cuda_asked_for_but_absent(make_runner, make_spec):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UsageError, match="CUDA"):
        make_runner().run(replace(make_spec(), device="cuda"))


SCRIPT = """
import sys
from kdbench.training import loop
loop.SAVE_SECONDS = 0.0
from kdbench.cli import main
main(sys.argv[1:])
"""


def command(kitti_tree, results, home, steps):
    arguments = ["run", "--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]
    arguments += ["--method", "none", "--ratio", 4, "--results", results, "--quiet"]
    arguments += ["--set", f"train.steps={steps}", "--set", "teacher.steps=1"]
    environment = os.environ | {"KDBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], env=environment
    )  # fmt: skip


@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_killed_command_goes_on_to_bit_identical_weights(kitti_tree, tmp_path, signum):
    whole = command(kitti_tree, tmp_path / "whole", tmp_path / "home1", steps=15)
    assert whole.wait() == 0
    killed = command(kitti_tree, tmp_path / "killed", tmp_path / "home2", steps=15)
    checkpoint = wait_for_checkpoint(tmp_path / "home2", killed)
    killed.send_signal(signum)
    assert killed.wait() != 0
    assert checkpoint.exists(), "it was killed after its training: the test needs more steps"
    assert command(kitti_tree, tmp_path / "killed", tmp_path / "home2", steps=15).wait() == 0
    sums = [
        {r["hash"]: (r["weights_sha256"], r["metrics"]) for r in read_records(tmp_path / name)}
        for name in ("whole", "killed")
    ]
    assert sums[0] == sums[1]


def wait_for_checkpoint(home, process):
    """The student's checkpoint (the teacher's one step leaves none), once there is one."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for path in home.glob("runs/*/checkpoint.pt"):
            return path
        time.sleep(0.005)
    raise AssertionError("no checkpoint came")

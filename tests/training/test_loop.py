import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from kdbench.errors import TrainingDiverged
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.store import checksum
from kdbench.training import loop
from kdbench.training.loop import Training
from kdbench.training.meter import Meter
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter

CPU = torch.device("cpu")


def training(spec, dataset, folder) -> Training:
    student, teacher, method = build_networks(spec, CPU)
    return Training(spec, dataset, student, teacher, method, CPU, folder, Reporter(True))


def weights(run: Training) -> str:
    return checksum(run.student.state_dict())


def stop_after(run: Training, steps: int, how) -> None:
    """Makes a training call `how` when so many steps are done."""
    original = run.method.after_step

    def after_step(*arguments):
        original(*arguments)
        run.done = getattr(run, "done", 0) + 1
        if run.done == steps:
            how()

    run.method.after_step = after_step


def test_one_seed_gives_the_same_weights_and_another_seed_others(make_spec, dataset, tmp_path):
    spec = make_spec()
    runs = [training(s, dataset, tmp_path / str(i)) for i, s in enumerate(
        (spec, spec, replace(spec, seed=1))
    )]  # fmt: skip
    for run in runs:
        run.run()
    assert weights(runs[0]) == weights(runs[1]) != weights(runs[2])


def test_frames_on_the_device_give_the_same_weights(make_spec, dataset, tmp_path):
    """As on a GPU, but that the device is the CPU here."""
    plain, other = (training(make_spec(), dataset, tmp_path / name) for name in ("a", "b"))
    frames = dataset.on_device(CPU)
    other.__dict__["_on_device"] = frames  # in place of what the property finds out
    for run in (plain, other):
        run.run()
    assert weights(plain) == weights(other)
    assert plain._on_device is None and frames.bytes > 0


def test_ctrl_c_saves_and_the_same_training_goes_on_to_the_same_weights(
    make_spec, dataset, tmp_path
):
    whole = training(make_spec(), dataset, tmp_path / "whole")
    whole.run()
    stopped = training(make_spec(), dataset, tmp_path / "stopped")
    stop_after(stopped, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = training(make_spec(), dataset, tmp_path / "stopped")
    result = resumed.run()
    assert result["steps"] == make_spec().train.steps
    assert weights(resumed) == weights(whole)


def test_a_death_at_any_moment_costs_nothing_but_time(make_spec, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)  # a checkpoint each step
    whole = training(make_spec(), dataset, tmp_path / "whole")
    whole.run()

    class Death(BaseException):
        pass

    def die():
        raise Death

    killed = training(make_spec(), dataset, tmp_path / "killed")
    stop_after(killed, 3, die)  # after the step, before its checkpoint
    with pytest.raises(Death):
        killed.run()
    resumed = training(make_spec(), dataset, tmp_path / "killed")
    resumed.run()
    assert weights(resumed) == weights(whole)


def test_a_damaged_checkpoint_means_starting_anew(make_spec, dataset, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(b"not a checkpoint")
    damaged, fresh = (training(make_spec(), dataset, f) for f in (folder, tmp_path / "fresh"))
    damaged.run()
    fresh.run()
    assert weights(damaged) == weights(fresh)


class Explodes(Method):
    name = "explodes"
    teacher = "none"

    def forward(self, student, teacher, batch):
        return {"bad": student["head.cls"].sum() * float("nan")}


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_frames(
    make_spec, dataset, tmp_path, monkeypatch
):
    monkeypatch.setitem(methods._found, "explodes", Explodes)
    run = training(make_spec("explodes"), dataset, tmp_path)
    with pytest.raises(TrainingDiverged, match=r"step 1 .*kd\.bad nan.*frames 00000\d"):
        run.run()


def test_students_of_one_seed_start_equal_whatever_the_method(make_spec, monkeypatch):
    monkeypatch.setattr(store, "load_weights", lambda spec, detector: None)  # any teacher will do
    students = [build_networks(make_spec(m), CPU)[0] for m in ("none", "kd", "fitnet")]
    assert len({checksum(student.state_dict()) for student in students}) == 1


def test_the_meter_counts_waiting_apart():
    meter = Meter()
    for _ in meter.waiting(iter(range(3))):
        meter.add(0.5, 4)
    summary = meter.summary()
    assert summary["seconds_per_step"] == 0.5
    assert 0 <= summary["data_wait_share"] < 0.01
    assert summary["frames_per_second"] == pytest.approx(8, rel=0.01)


def test_the_log_forgets_steps_that_are_repeated(tmp_path):
    log = store.Log(tmp_path / "log.jsonl")
    for step in (10, 20, 30):
        log.write(step=step, cls=1.0)
    with log.path.open("a") as file:
        file.write('{"step": 40, "cl')  # a kill while writing
    log.truncate_after(20)
    assert [json.loads(line)["step"] for line in log.path.open()] == [10, 20]

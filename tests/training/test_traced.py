"""A traced training: what it writes down, and that it changes nothing."""

import os
import signal

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.runs.moments import moments
from kdbench.runs.store import checksum
from kdbench.training import loop
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from kdbench.training.traced import Traced

CPU = torch.device("cpu")


def test_moments_lie_close_together_at_first():
    assert moments(1200) == [0, 37, 75, 150, 300, 600, 900, 1199]
    assert moments(4) == [0, 1, 2, 3]
    assert moments(1) == [0]


@pytest.fixture
def prepared(make_runner, make_spec):
    """A run of distillation whose teacher is trained, and its data set."""
    return make_runner().prepare(make_spec("fitnet"))


def training(kind, prepared, folder):
    networks = build_networks(prepared[0], CPU)
    return kind(*prepared, *networks, CPU, folder, Reporter(True))


def test_a_trace_changes_no_bit_and_says_where_the_loss_acts(prepared, tmp_path):
    plain, traced = (
        training(kind, prepared, tmp_path / kind.__name__) for kind in (Training, Traced)
    )
    assert "trace" not in plain.run()
    trace = traced.run()["trace"]
    assert checksum(traced.student.state_dict()) == checksum(plain.student.state_dict())
    assert [entry["step"] for entry in trace] == moments(plain.spec.train.steps)
    parameters = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in plain.student.named_children()
    }
    for entry in trace:
        parts = entry["parts"]
        assert "all" in parts and "head" not in parts
        assert parts["all"]["reached"] == sum(p["reached"] for n, p in parts.items() if n != "all")
        assert all(0 < p["share"] < 1 and -1 <= p["cosine"] <= 1 for p in parts.values())
        assert all(p["reached"] <= parameters[n] for n, p in parts.items() if n != "all")
        assert entry["detection"] > 0 and entry["distillation"] > 0


def test_a_trace_that_was_interrupted_goes_on(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    whole = training(Traced, prepared, tmp_path / "whole").run()["trace"]
    stopped = training(Traced, prepared, tmp_path / "stopped")
    after_step = stopped.method.after_step

    def stop(student, teacher, step, steps):
        after_step(student, teacher, step, steps)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    stopped.method.after_step = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert training(Traced, prepared, tmp_path / "stopped").run()["trace"] == whole


def test_records_of_students_with_a_method_hold_it(make_runner, make_spec):
    runner, spec = make_runner(trace=True), make_spec("fitnet")
    record = runner.run(spec)
    assert len(record["training"]["trace"]) == len(moments(spec.train.steps))
    assert "trace" not in runner.run(make_spec("none"))["training"]


def test_a_run_that_was_done_without_one_is_not_done_again(make_runner, make_spec, capsys):
    spec = make_spec("fitnet")
    make_runner().run(spec)
    runner = make_runner(trace=True)
    runner.reporter = Reporter()
    assert "trace" not in runner.run(spec)["training"]
    assert "not traced, --force trains it again with a trace" in capsys.readouterr().err
    runner.force = True
    assert runner.run(spec)["training"]["trace"]


def test_several_processes_are_not_traced(monkeypatch, kitti_tree, tmp_path):
    from kdbench.cli.run import run

    monkeypatch.setattr("kdbench.training.processes.size", lambda: 2)
    monkeypatch.setattr("kdbench.training.processes.check", lambda *_: None)
    with pytest.raises(UsageError, match="without torchrun"):
        run.main(
            ["--profile", "tiny", "--dataset", "kitti", "--data-root", str(kitti_tree), "--trace",
             "--results", str(tmp_path)], standalone_mode=False,
        )  # fmt: skip

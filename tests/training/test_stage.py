"""A stage before the training: done once, frozen, counted, and gone on with after a kill."""

import os
import signal

import pytest
import torch

from kdbench.methods.ft import FactorTransfer
from kdbench.runs.store import checksum
from kdbench.training import stage
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter

CPU = torch.device("cpu")


@pytest.fixture
def trained_teacher(make_runner, make_spec):
    """The spec of a student whose teacher is trained."""
    return make_runner().prepare(make_spec("ft", method__stage_steps=3))[0]


@pytest.fixture
def start(trained_teacher, dataset, tmp_path):
    def make(name="run", **train):
        spec = trained_teacher
        networks = build_networks(spec, CPU)
        return Training(spec, dataset, *networks, CPU, tmp_path / name, Reporter(True))

    return make


def learned(training):
    """Checksums of the student, and of what learned in the stage."""
    return checksum(training.student.state_dict()), checksum(
        stage.learning(training.method).state_dict()
    )


def test_the_stage_trains_what_is_its_own_and_the_training_leaves_it(start, monkeypatch):
    training = start()
    before = learned(training)
    after_stage = []
    train = Training.train

    def watched(self):
        if not isinstance(self, stage.Stage):
            after_stage.append(learned(self))
        return train(self)

    monkeypatch.setattr(Training, "train", watched)
    cost = training.run()
    ((student, paraphraser),) = after_stage
    assert student == before[0] and paraphraser != before[1]
    assert learned(training)[0] != student and learned(training)[1] == paraphraser
    assert cost["stage"]["steps"] == 3 and cost["stage"]["seconds"] > 0
    translator = training.method.translator.parameters()
    assert all(p.requires_grad for p in translator)
    assert not training.method.encoder.training


def test_it_is_carried_out_once_and_either_way_gives_the_same(start, monkeypatch):
    first, again = start("first"), start("again")
    cost = first.run()
    monkeypatch.setattr(stage, "_carried_out", lambda *_: pytest.fail("carried out again"))
    assert again.run()["stage"] == cost["stage"]
    assert learned(first) == learned(again)


def test_a_damaged_stage_is_carried_out_anew(start):
    first = start("first")
    first.run()
    folder = stage.stage_folder(stage.stage_spec(first.spec, first.method))
    (folder / "stage.safetensors").write_bytes(b"short")
    again = start("again")
    again.run()
    assert learned(first) == learned(again)


def test_a_stage_that_was_stopped_goes_on(start, monkeypatch):
    whole = start("whole")
    whole.run()
    path = stage.stage_folder(stage.stage_spec(whole.spec, whole.method)) / "stage.safetensors"
    path.unlink()
    loss, calls = FactorTransfer.stage_loss, []

    def counted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, *arguments)

    monkeypatch.setattr(FactorTransfer, "stage_loss", counted)
    with pytest.raises(KeyboardInterrupt):
        start("stopped").run()
    assert len(calls) == 2 and (path.parent / "checkpoint.pt").exists()
    resumed = start("stopped")
    resumed.run()
    assert len(calls) == 3  # two before, one after: none is done again
    assert learned(resumed) == learned(whole)
    assert not (path.parent / "checkpoint.pt").exists()


def test_a_record_holds_what_it_cost(make_runner, make_spec):
    record = make_runner().run(make_spec("ft"))
    assert record["training"]["stage"]["steps"] == 2
    plain = make_runner().run(make_spec("ft", method__stage_steps=0))
    assert "stage" not in plain["training"]
    assert "stage_steps" not in plain["spec"]["method"]["options"]

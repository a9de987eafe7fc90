"""Places that are full: what is trained is not lost, and the place is named."""

import errno
import io
import os
import pickle
import signal

import pytest
import torch

from kdbench.errors import KdbenchError
from kdbench.runs import store
from kdbench.runs.store import checksum
from kdbench.storage import files
from kdbench.storage.files import CannotWrite
from kdbench.training import loop
from kdbench.training.checkpoint import sealed
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks

CPU = torch.device("cpu")


class Reporter(loop.Reporter):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def full(monkeypatch):
    """Makes the disk full for files whose names are in a set."""
    names = set()
    replace = files.Path.replace

    def full_for_some(self, target):
        if files.Path(target).name in names or files.Path(target).suffix in names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", full_for_some)
    return names


def training(spec, dataset, folder) -> Training:
    student, teacher, method = build_networks(spec, CPU)
    return Training(spec, dataset, student, teacher, method, CPU, folder, Reporter())


def weights(run: Training) -> str:
    return checksum(run.student.state_dict())


def test_a_training_goes_on_where_no_checkpoint_can_be_written(
    make_spec, dataset, tmp_path, monkeypatch, full
):
    whole, run = (training(make_spec(), dataset, tmp_path / name) for name in "ab")
    whole.run()
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)  # a checkpoint each step
    full.add("checkpoint.pt")
    run.run()
    assert weights(run) == weights(whole)
    (said,) = [line for line in run.reporter.said if line.startswith("warning")]
    assert "checkpoint.pt: cannot be written (No space left on device); make room there" in said
    assert list((tmp_path / "b").glob(".checkpoint*")) == []  # no half of one stays


def test_a_stop_that_cannot_be_saved_does_not_claim_to_be(make_spec, dataset, tmp_path, full):
    full.add("checkpoint.pt")
    run = training(make_spec(), dataset, tmp_path)
    run.method.after_step = lambda *_: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(CannotWrite, match="checkpoint.pt: cannot be written"):
        run.run()


def test_a_log_that_cannot_be_written_stops_nothing(make_spec, dataset, tmp_path, monkeypatch):
    def write(self, **values):
        raise CannotWrite.at(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    monkeypatch.setattr(store.Log, "write", write)
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    run = training(make_spec(), dataset, tmp_path)
    assert run.run()["steps"] == make_spec().train.steps
    assert sum("log.jsonl: cannot be written" in said for said in run.reporter.said) == 1


def test_a_line_of_a_log_is_there_or_is_not(tmp_path, monkeypatch):
    log = store.Log(tmp_path / "log.jsonl")
    log.write(step=1)
    whole = store.json.dumps

    def torn(values):  # a part of the line finds room
        log.path.write_text(log.path.read_text() + whole(values)[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.json, "dumps", torn)
    with pytest.raises(CannotWrite, match="log.jsonl: cannot be written .*make room there"):
        log.write(step=2)
    monkeypatch.undo()
    log.write(step=3)
    assert log.path.read_text() == '{"step": 1}\n{"step": 3}\n'


def test_what_cannot_be_written_is_told_by_a_worker_process_too(tmp_path):
    error = CannotWrite.at(tmp_path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    there_and_back = pickle.loads(pickle.dumps(error))
    assert type(there_and_back) is CannotWrite and str(there_and_back) == str(error)


@pytest.mark.parametrize("lost", ["model.safetensors", "detections.npz"])
def test_a_result_is_not_lost_with_its_files(make_spec, make_runner, full, lost):
    full.add(lost)
    runner = make_runner()
    runner.reporter = Reporter()
    record = runner.run(make_spec())
    assert record["training"]["steps"] == 4
    assert any(f"{lost}: cannot be written (No space" in said for said in runner.reporter.said)


def test_a_record_that_cannot_be_written_costs_no_training(make_spec, make_runner, full, tmp_path):
    full.add(".json")
    spec = make_spec()
    with pytest.raises(CannotWrite, match="cannot be written"):
        make_runner().run(spec)
    full.clear()
    runner = make_runner()
    runner.run(spec)
    assert len(list((tmp_path / "results").glob("*/*/*/*.json"))) == 1


@pytest.mark.parametrize("how", ["cut", "flipped", "other"])
def test_a_damaged_checkpoint_is_told_and_the_training_ends_as_one_anew(
    make_spec, dataset, tmp_path, monkeypatch, how
):
    fresh = training(make_spec(), dataset, tmp_path / "fresh")
    fresh.run()
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    training(make_spec(), dataset, tmp_path / "run").run()
    path = tmp_path / "run/checkpoint.pt"
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "other": b"none"}[how])
    run = training(make_spec(), dataset, tmp_path / "run")
    result = run.run()
    assert f"warning: {path}: damaged" in run.reporter.said[0]
    assert "starts anew from step 0" in run.reporter.said[0]
    assert result["steps"] == make_spec().train.steps and weights(run) == weights(fresh)


def test_a_checkpoint_without_a_checksum_is_still_gone_on_from(
    make_spec, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    training(make_spec(), dataset, tmp_path).run()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes().rpartition(b"kdbench sha256")[0])
    run = training(make_spec(), dataset, tmp_path)
    run.run()
    assert "goes on from step 3" in run.reporter.said[0]


def test_a_checkpoint_of_another_method_is_refused_in_one_line(
    make_spec, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    training(make_spec(), dataset, tmp_path).run()
    with pytest.raises(KdbenchError, match="checkpoint.pt: of another network or method"):
        training(make_spec(ratio=16.0), dataset, tmp_path).run()


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(step=9),
        lambda values: values.update(step=None),
        lambda values: values.update(student=[]),
        lambda values: values.pop("schedule"),
        lambda values: values["schedule"].update(total_steps=100),
        lambda values: values["optimizer"]["param_groups"][0].update(weight_decay=1.0),
        lambda values: values["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
    ],
)
def test_a_checkpoint_that_was_changed_and_signed_again_is_refused_in_one_line(
    make_spec, dataset, tmp_path, monkeypatch, change
):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    training(make_spec(), dataset, tmp_path).run()
    path = tmp_path / "checkpoint.pt"
    values = torch.load(path, weights_only=True)
    change(values)
    buffer = io.BytesIO()
    torch.save(values, buffer)
    path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(KdbenchError, match="checkpoint.pt: of another network") as error:
        training(make_spec(), dataset, tmp_path).run()
    assert "\n" not in str(error.value)

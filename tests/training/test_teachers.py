"""Runs whose teacher is not the usual one."""

import json

import pytest

from kdbench.errors import DataError, UsageError
from kdbench.runs import store
from kdbench.runs.spec import RunSpec


def test_a_student_that_learns_from_itself_names_its_baseline(make_runner, make_spec):
    record = make_runner().run(make_spec("self"))
    assert record["teacher"] == RunSpec.from_dict(record["spec"]).baseline().hash


def test_a_baseline_whose_weights_are_lost_is_trained_again(make_runner, make_spec):
    baseline = RunSpec.from_dict(make_runner().run(make_spec("none"))["spec"])
    before = store.checksum(store.load_trained(baseline).state_dict())
    store.weights_path(baseline).unlink()
    make_runner().run(make_spec("fitnet"))  # does not need them
    assert not store.weights_path(baseline).exists()
    make_runner().run(make_spec("self"))
    assert store.checksum(store.load_trained(baseline).state_dict()) == before


def test_a_run_without_a_trained_teacher_names_none(make_runner, make_spec):
    runner = make_runner()
    for method in ("random-teacher", "mean-teacher"):
        assert runner.run(make_spec(method))["teacher"] is None


def test_a_method_that_teaches_without_a_loss_changes_the_student(make_runner, make_spec):
    runner = make_runner()
    plain, guided = (runner.run(make_spec(method)) for method in ("none", "tgi"))
    assert plain["weights_sha256"] != guided["weights_sha256"]


def test_a_students_settings_ask_for_no_other_teacher(make_runner, make_spec):
    runner = make_runner()
    records = [
        runner.run(make_spec("fitnet", **changes))
        for changes in ({}, {"train__lr": 0.002, "train__batch_size": 2})
    ]
    assert len({record["teacher"] for record in records}) == 1
    assert len({record["teacher_weights"] for record in records}) == 1
    assert len({record["hash"] for record in records}) == 2
    (weights,) = {record["spec"]["teacher"]["weights"] for record in records}
    assert weights == records[0]["teacher_weights"]


def test_a_run_without_a_teacher_trains_none(make_runner, make_spec):
    runner = make_runner()
    for method in ("none", "self", "random-teacher"):
        runner.run(make_spec(method))
    assert not list(runner.results.glob("*/pointpillars-x1"))


def test_a_teachers_matrices_are_rounded_before_it_is_scored(make_runner, make_spec):
    spec = RunSpec.from_dict(make_runner().run(make_spec("kd"))["spec"])
    teacher, student = store.load_trained(spec.teacher_run()), store.load_trained(spec)
    for network, rounded in ((teacher, True), (student, False)):
        matrices = [p for p in network.parameters() if p.dim() > 1]
        assert all(p.equal(p.half().float()) for p in matrices) is rounded


def test_a_teachers_precision_is_refused_where_it_would_be_emulated(
    make_runner, make_spec, monkeypatch
):
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    with pytest.raises(UsageError, match="this processor does not compute with it"):
        make_runner().run(make_spec("kd", teacher__precision="bfloat16"))


def test_a_run_of_other_weights_than_those_there_is_refused(make_runner, make_spec):
    spec = RunSpec.from_dict(make_runner().run(make_spec("kd"))["spec"])
    with pytest.raises(DataError, match="learned from the weights aaaaaaaaaa"):
        make_runner().run(spec.taught_by("a" * 64))


def test_what_is_done_says_where_its_weights_are(make_runner, make_spec, capsys):
    spec = RunSpec.from_dict(make_runner().run(make_spec("none"))["spec"])
    runner = make_runner()
    runner.reporter.console.quiet = False
    runner.run(spec)
    assert f"weights: {store.weights_path(spec)}" in capsys.readouterr().err.replace("\n", "")
    store.weights_path(spec).unlink()
    runner.run(spec)
    assert "weights: not in KDBENCH_HOME" in capsys.readouterr().err.replace("\n", "")


def test_weights_of_another_training_are_not_taken_for_those_of_a_record(make_runner, make_spec):
    record = make_runner().run(make_spec("none"))
    store.load_recorded(record)
    with pytest.raises(DataError, match="not the weights that are asked for"):
        store.load_recorded(record | {"weights_sha256": "0" * 64})


def test_self_never_overwrites_the_record_of_its_baseline(make_runner, make_spec):
    runner = make_runner()
    spec = RunSpec.from_dict(runner.run(make_spec("none"))["spec"])
    path = runner.results / spec.record_path
    before = path.read_bytes()
    store.weights_path(spec).unlink()
    taught = runner.run(make_spec("self"))
    assert path.read_bytes() == before
    assert taught["teacher_weights"] == json.loads(before)["weights_sha256"]

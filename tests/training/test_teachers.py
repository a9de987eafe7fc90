"""Runs whose teacher is not the usual one."""

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

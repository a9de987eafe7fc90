"""Which cells a sweep has, and in which order."""

import pytest

from kdbench.errors import UsageError
from kdbench.registry import methods
from kdbench.runs.build import build_detector
from kdbench.runs.records import SCHEMA, write_record
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import checksum, save_weights
from kdbench.sweep.plan import CACHED, NOT_APPLICABLE, READY, expand, plan, taught

CLASSES = ("Car", "Pedestrian", "Cyclist")
TINY = {"profile": "tiny"}


def expanded(*names, seeds=(0,), **overrides):
    return expand(names, ["pointpillars"], [4], seeds, (1,), overrides, **TINY)


def record_of(spec: RunSpec) -> dict:
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {"some": 1})
    return {"schema": SCHEMA, "hash": spec.hash, "spec": spec.to_dict(), **parts}


def test_every_method_ratio_and_seed():
    specs = expand(["kd", "fitnet"], ["pointpillars"], [4, 16], range(3), **TINY)
    assert len({s.hash for s in specs}) == 12
    assert {s.detector.ratio for s in specs} == {4.0, 16.0}


def test_a_method_may_come_with_options():
    (spec,) = expanded({"name": "kd", "variant": "mse"})
    assert spec.method.options["variant"] == "mse"
    with pytest.raises(UsageError, match="unknown option of method 'kd'"):
        expanded({"name": "kd", "varient": "mse"})


def test_what_a_run_rests_on_comes_first_and_once(tmp_path):
    cells = plan(expanded("kd", "self", seeds=(0, 1)), tmp_path)
    places = {cell.key: i for i, cell in enumerate(cells)}
    assert all(places[need] < i for i, cell in enumerate(cells) for need in cell.needs)
    kinds = [(c.spec.method.name, c.spec.detector.ratio, c.spec.seed) for c in cells]
    assert sorted(kinds) == sorted(
        [("none", 1.0, 0)] + [(m, 4.0, s) for m in ("none", "kd", "self") for s in (0, 1)]
    )


def test_networks_are_built_once_for_all_seeds(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr("kdbench.sweep.plan.check_applicable", built.append)
    assert len(plan(expanded("none", seeds=range(5)), tmp_path)) == 5 and len(built) == 1


def states_of(cells):
    return {(c.spec.method.name, c.spec.detector.ratio): c.state for c in cells}


def test_what_is_done_is_cached(tmp_path):
    (spec,) = expanded("kd")
    write_record(tmp_path, record_of(spec.baseline()))
    expected = {("none", 1.0): READY, ("none", 4.0): CACHED, ("kd", 4.0): READY}
    assert states_of(plan([spec], tmp_path)) == expected


def test_a_teacher_whose_weights_are_lost_is_trained_once_before_all_who_need_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    specs = expanded("kd", "fitnet")
    teacher = specs[0].teacher_run()
    network = build_detector(teacher.detector, CLASSES)
    record = record_of(teacher) | {"weights_sha256": checksum(network.state_dict())}
    write_record(tmp_path, record)
    done = taught(specs[0], tmp_path)
    for spec in (done, done.baseline()):
        write_record(tmp_path, record_of(spec))
    assert states_of(plan(specs, tmp_path))["none", 1.0] == READY
    assert states_of(plan(specs[:1], tmp_path))["none", 1.0] == CACHED  # nobody needs them
    save_weights(teacher, network)
    assert states_of(plan(specs, tmp_path))["none", 1.0] == CACHED


def test_a_run_is_known_by_its_teachers_weights_once_those_are_there(tmp_path):
    (spec,) = expanded("kd")
    assert taught(spec, tmp_path) == spec
    write_record(tmp_path, record_of(spec.teacher_run()) | {"weights_sha256": "abc"})
    assert taught(spec, tmp_path).teacher.weights == "abc"
    assert taught(spec.baseline(), tmp_path) == spec.baseline()


def test_seeds_come_outermost_and_budgets_are_steps():
    specs = expand(["none", "kd"], ["pointpillars"], [4], (0, 1), (1, "1/2"), **TINY)
    found = [(s.seed, s.train.steps, s.method.name) for s in specs]
    assert found == [
        (seed, steps, name) for seed in (0, 1) for steps in (4, 2) for name in ("none", "kd")
    ]


def test_rounds(tmp_path):
    specs = expand(["kd", "none"], ["pointpillars", "second"], [4], (0, 1), **TINY)
    cells = plan(specs, tmp_path)
    assert [c.spec.is_teacher for c in cells] == [True] * 2 + [False] * 8
    rounds = [(c.spec.seed, c.spec.method.name) for c in cells[2:]]
    assert rounds == [(s, m) for s in (0, 1) for m in ("none", "kd") for _ in range(2)]


def test_what_does_not_apply_is_a_cell_that_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setattr(methods.get("kd"), "needs", ("camera",))
    (spec,) = expanded("kd")
    (cell,) = plan([spec], tmp_path)
    assert cell.state == NOT_APPLICABLE
    assert "needs camera" in cell.reason

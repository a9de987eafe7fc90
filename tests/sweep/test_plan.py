"""Which cells a sweep has, and in which order."""

from dataclasses import replace

import pytest

from kdbench.errors import UsageError
from kdbench.registry import methods
from kdbench.runs.build import build_detector
from kdbench.runs.records import write_record
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import save_weights
from kdbench.sweep.plan import CACHED, NOT_APPLICABLE, READY, expand, find_done, plan

CLASSES = ("Car", "Pedestrian", "Cyclist")
TINY = {"profile": "tiny"}


def expanded(*names, seeds=(0,), **overrides):
    return expand(names, ["pointpillars"], [4], seeds, overrides, **TINY)


def record_of(spec: RunSpec) -> dict:
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {"some": 1})
    return {"schema": 1, "hash": spec.hash, "spec": spec.to_dict(), **parts}


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


def test_longer_waits_for_the_method_whose_cost_it_pays_back(tmp_path):
    (spec,) = expanded({"name": "longer", "method": "fitnet"})
    *_, rival, longer = plan([spec], tmp_path)
    assert (rival.spec.method.name, longer.spec.method.name) == ("fitnet", "longer")
    assert rival.key in longer.needs


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
    specs = expanded("none", "kd", "fitnet")
    for spec in (specs[0].teacher(), specs[0]):
        write_record(tmp_path, record_of(spec))
    assert states_of(plan(specs, tmp_path))["none", 1.0] == READY
    assert states_of(plan(specs[:1], tmp_path))["none", 1.0] == CACHED  # nobody needs them
    teacher = specs[0].teacher()
    save_weights(teacher, build_detector(teacher.detector, CLASSES))
    assert states_of(plan(specs, tmp_path))["none", 1.0] == CACHED


def test_rounds(tmp_path):
    specs = expand(["longer", "kd", "none"], ["pointpillars", "second"], [4, 16], (0,), **TINY)
    cells = plan(specs, tmp_path)
    names = ["teacher" if c.spec == c.spec.teacher() else c.spec.method.name for c in cells]
    rounds = [list(dict.fromkeys(group)) for group in (names[:2], names[2:6], names[-4:])]
    assert rounds == [["teacher"], ["none"], ["longer"]]
    assert set(names[6:-4]) == {"kd", "pointdistiller"}
    places = {cell.key: i for i, cell in enumerate(cells)}
    assert all(places[need] < i for i, cell in enumerate(cells) for need in cell.needs)


def test_a_run_that_pays_back_is_found_with_the_steps_that_it_got(tmp_path):
    (spec,) = expanded("longer")
    assert find_done(tmp_path, spec) is None
    ran = replace(spec, train=replace(spec.train, extra_steps=7))
    write_record(tmp_path, record_of(ran))
    assert find_done(tmp_path, spec)["hash"] == ran.hash
    assert find_done(tmp_path, replace(spec, seed=1)) is None


def test_what_does_not_apply_is_a_cell_that_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setattr(methods.get("kd"), "needs", ("camera",))
    (spec,) = expanded("kd")
    (cell,) = plan([spec], tmp_path)
    assert cell.state == NOT_APPLICABLE
    assert "needs camera" in cell.reason

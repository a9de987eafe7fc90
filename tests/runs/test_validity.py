"""What is no run is refused by the name of its field, however it is asked for."""

import json
import re

import pytest

from kdbench.cli.run import DEFAULTS, read_spec, spec_from
from kdbench.errors import UsageError
from kdbench.runs.settings import build_spec, read_config

GOOD = build_spec(profile="tiny", method="kd", ratio=4)


def test_a_good_spec_is_taken_as_it_is(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(GOOD.to_dict()), encoding="utf-8-sig")
    assert read_spec(path) == GOOD
    path.write_text(json.dumps({"hash": GOOD.hash, "spec": GOOD.to_dict()}))
    assert read_spec(path).hash == GOOD.hash


@pytest.mark.parametrize("value", [None, True, 1.5, "a b", [0, 1], {"a": 1}, -1, [], ""])
@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_a_setting_of_a_wrong_type_is_named(key, value):
    if key == "budget" and value == 1.5:
        return
    with pytest.raises(UsageError, match=key):
        spec = spec_from({"method": "none", "profile": "tiny", key: value})
        assert key == "ratio" and spec.detector.ratio == 1.5
        raise UsageError(key)  # a ratio of 1.5 is one


def fields(values, path=()):
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict) and key != "options":
            yield from fields(value, (*path, key))


@pytest.mark.parametrize("path", list(fields(GOOD.to_dict())), ids=".".join)
@pytest.mark.parametrize("wrong", [{"a": []}, [None], True, "x y"])
def test_a_field_of_a_spec_of_a_wrong_type_is_named(tmp_path, path, wrong):
    values = GOOD.to_dict()
    part = values
    for key in path[:-1]:
        part = part[key]
    if wrong == "x y" and path[-1] in ("profile", "fingerprint", "weights"):
        return  # any text is one
    part[path[-1]] = wrong
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(values))
    names = {"name": r"unknown|name", "options": r"options|option of"}
    last = names.get(path[-1], re.escape(path[-1]))
    with pytest.raises(UsageError, match=f"spec.json: .*({last})"):
        read_spec(file)


def test_a_number_of_a_spec_that_is_too_large_is_named(tmp_path):
    file = tmp_path / "spec.json"
    file.write_text(
        json.dumps(GOOD.to_dict() | {"seed": float("inf")}).replace("Infinity", "1e999")
    )
    with pytest.raises(UsageError, match="spec.json: not valid JSON .1e999 is too large"):
        read_spec(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device": "any"}, "only a teacher's own run"),
        ({"teacher": None}, "teacher: the spec has none, method 'kd' learns from trained"),
        ({"method": {"name": "none"}}, r"teacher: the spec has one \(pointpillars\)"),
        ({"method": {"name": "kd", "options": {"wait": 1}}}, "did you mean 'weight'"),
        ({"method": {"name": "kd", "scale": -1.0}}, "method.scale must be 0 or more"),
        ({"method": {"options": {}}}, "the field method.name is missing"),
        (
            {"detector": {"name": "pointpillars", "ratio": 0.5}},
            "ratio must be a number of at least",
        ),
        (
            {"detector": {"name": "pointpillars", "options": {"nms_after": -1}}},
            "nms_after must be 0",
        ),
        ({"train": {"steps": 0}}, "train.steps must be above 0"),
        ({"train": {"steps": 10**12}}, "train.steps must be at most"),
        ({"train": {"steps": 3, "lr": -1.0}}, "train.lr must be above 0"),
        ({"teacher": {"steps": 3, "precision": "half"}}, "unknown value of teacher.precision"),
        ({"dataset": {"name": "kitti", "options": {"root": "x"}}}, "dataset.root cannot be set"),
        ({"sed": 1}, "unknown field of a spec 'sed'; did you mean 'seed'"),
        ({"train": {"steps": 3, "momentum": 1}}, "unknown field of a spec 'train.momentum'"),
    ],
)
def test_a_spec_out_of_range_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(GOOD.to_dict() | change))
    with pytest.raises(UsageError, match=message):
        read_spec(path)


def test_no_field_of_a_spec_is_made_up(tmp_path):
    path = tmp_path / "spec.json"
    for name in GOOD.to_dict().keys() - {"teacher"}:
        path.write_text(json.dumps({k: v for k, v in GOOD.to_dict().items() if k != name}))
        with pytest.raises(UsageError, match=f"the field {name} is missing"):
            read_spec(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"detector.pillar_size": 0}, "pillar_size"),
        ({"detector.bn_momentum": 5}, "bn_momentum must be from 0 to 1, not 5"),
        ({"detector.nms_threshold": float("nan")}, "nms_threshold must be a finite number"),
        ({"dataset.cache_dir": "x"}, "dataset.cache_dir cannot be set: KDBENCH_HOME"),
        ({"method.k": 0}, "option k must be at least 1, not 0"),
        ({1: 2}, "unknown configuration key '1'"),
    ],
)
def test_options_out_of_range_are_named_before_anything_starts(overrides, message):
    from kdbench.training.applicable import check_applicable

    with pytest.raises(UsageError, match=message):
        check_applicable(
            build_spec(profile="tiny", method="pointdistiller", ratio=4, overrides=overrides)
        )


def test_a_method_that_cannot_be_built_is_told_before_its_teacher_is_trained():
    from kdbench.training.applicable import check_applicable

    spec = build_spec(profile="tiny", method="fitnet", overrides={"method.tap": "nowhere"})
    with pytest.raises(UsageError, match="'nowhere' must name taps"):
        check_applicable(spec)


def test_a_setting_that_is_nested_and_dotted_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("train: {steps: 3}\ntrain.steps: 4\n")
    with pytest.raises(UsageError, match="'train.steps' is given twice"):
        read_config(path)

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import Note, UsageError
from kdbench.runs.profiles import PROFILES
from kdbench.runs.settings import budget_of, build_spec, parse_overrides, read_config
from kdbench.runs.spec import RunSpec

QUICK = PROFILES["quick"]["train"]["steps"]


def test_the_hash_is_of_the_content():
    spec = build_spec(method="kd", ratio=4)
    assert spec.hash == build_spec(method="kd", ratio=4).hash
    others = [
        build_spec(method="kd", ratio=16),
        build_spec(method="kd", ratio=4, seed=1),
        build_spec(method="kd", ratio=4, overrides={"method.weight": 2.0}),
        build_spec(method="kd", ratio=4, overrides={"train.lr": 1e-4}),
        build_spec(method="none", ratio=4),
        replace(spec, device="cuda"),
    ]
    assert len({s.hash for s in (spec, *others)}) == 7
    for one in (spec, *others):
        text = json.dumps(one.to_dict(), sort_keys=True)
        assert one.hash == hashlib.sha256(text.encode()).hexdigest()[:10]


def test_a_spec_survives_a_trip_through_plain_values():
    spec = build_spec(method="pointdistiller", ratio=4, overrides={"method.k": 9})
    assert RunSpec.from_dict(spec.to_dict()) == spec


def test_where_the_data_lie_is_no_part_of_a_run():
    assert not {"root", "cache_dir", "point_range"} & set(build_spec().dataset.options)


def test_teacher_and_baseline_of_a_run():
    spec = build_spec(method="kd", ratio=4, seed=2, overrides={"teacher.steps": 7})
    teacher, baseline = spec.teacher_run(), spec.baseline()
    assert (teacher.detector.ratio, teacher.method.name, teacher.seed) == (1, "none", 0)
    assert teacher.train.steps == 7
    assert teacher.is_teacher and not baseline.is_teacher
    assert teacher.teacher_run() is None and teacher.baseline() == teacher
    assert (baseline.detector.ratio, baseline.method.name, baseline.seed) == (4, "none", 2)
    assert baseline.baseline() == baseline and baseline.teacher is None


@pytest.mark.parametrize(
    "named",
    [
        {"seed": 5}, {"ratio": 16}, {"device": "cuda"}, {"method": "fitnet"}, {"budget": 4},
        {"overrides": {"train.lr": 0.002, "train.batch_size": 2, "train.precision": "bfloat16"}},
    ],
)  # fmt: skip
def test_a_teacher_is_the_same_whoever_learns_from_it(named):
    teacher = build_spec(method="kd", ratio=4).teacher_run()
    assert build_spec(**{"method": "kd", "ratio": 4} | named).teacher_run().hash == teacher.hash


def test_teachers_settings_are_its_own():
    spec = build_spec(method="kd", overrides={"teacher.lr": 0.01, "teacher.precision": "float16"})
    assert (spec.teacher.lr, spec.train.lr) == (0.01, build_spec(method="kd").train.lr)
    assert spec.teacher_run().train.precision == "float16"


@pytest.mark.parametrize("method", ["none", "self", "mean-teacher"])
def test_a_run_without_a_trained_teacher_is_one_run_whatever_teaches_beside_it(method):
    spec, other = (
        build_spec(method=method, overrides={"teacher.steps": steps}) for steps in (7, 8)
    )
    assert spec.teacher is None and spec.hash == other.hash


def test_an_untrained_teacher_is_a_network_without_a_schedule():
    spec = build_spec(method="random-teacher", overrides={"teacher.steps": 7})
    assert (spec.teacher.steps, spec.teacher.detector) == (0, "pointpillars")
    assert spec.teacher_run() is None


def test_a_budget_is_a_number_of_steps_and_nothing_else():
    assert build_spec(budget="1/2") == build_spec(overrides={"train.steps": QUICK // 2})
    assert build_spec(budget=4).train.steps == 4 * QUICK
    assert [budget_of(build_spec(budget=b)) for b in (1, 4, "1/2")] == [1, 4, 0.5]
    with pytest.raises(UsageError, match="give a budget or train.steps"):
        build_spec(budget=2, overrides={"train.steps": 3})
    for wrong in (0, -1, "a", "1/0", "nan", "inf"):
        with pytest.raises(UsageError, match="budget: "):
            build_spec(budget=wrong)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"train.teacher_steps": 7}, {"teacher.steps": 7}),
        ({"train.amp": False}, {"train.precision": "float32"}),
        ({"train.amp": True}, {"train.precision": "float32"}),  # of use with CUDA alone
        ({"train.extra_steps": 5}, {"train.steps": QUICK + 5}),
    ],
)
def test_retired_settings_are_still_read_and_named(given, taken):
    with pytest.warns(Note, match=f"{next(iter(given))}.* is no more"):
        spec = build_spec(method="kd", overrides=given)
    assert spec == build_spec(method="kd", overrides=taken)


TUNED = {"method": "kd", "published_share": None, "candidates": []}


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """Factors that were found: 0.5 for kd, 4 for its variant mse."""
    monkeypatch.setattr("kdbench.runs.tuned.FOLDER", tmp_path)
    (tmp_path / "pointpillars").mkdir()
    for name, scale in (("kd", 0.5), ("kd-mse", 4.0)):
        (tmp_path / f"pointpillars/{name}.json").write_text(json.dumps(TUNED | {"scale": scale}))


@pytest.mark.parametrize(
    ("method", "overrides", "scale"),
    [
        ("kd", {}, 0.5),
        ("kd", {"method.variant": "mse"}, 4.0),
        ("pointdistiller", {"method.variant": "released"}, 1.0),  # nothing found: as published
        ("kd", {"method.scale": 3}, 3.0),
        ("fitnet", {}, 1.0),
        ("shuffled", {"method.method": "kd"}, 0.5),  # a control has that of what it wraps
        ("none", {}, 1.0),
    ],
)
def test_the_factor_on_a_methods_losses(tuned, method, overrides, scale):
    assert build_spec(method=method, overrides=overrides).method.scale == scale


def test_a_control_wraps_a_method_as_the_profile_has_it():
    options = {"method.method": "pointdistiller", "method.options": {"k": 9}}
    spec = build_spec(profile="quick", method="shuffled", overrides=options)
    inner = spec.method.options["options"]
    assert (inner["n"], inner["k"], inner["weight"]) == (400, 9, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "quik"}, "unknown profile 'quik'; did you mean 'quick'"),
        ({"method": "pointdistiler"}, "unknown method 'pointdistiler'; did you mean 'pointdist"),
        ({"detector": "pointpilars"}, "unknown detector .*did you mean 'pointpillars'"),
        ({"dataset": "kiti"}, "unknown dataset .*did you mean 'kitti'"),
        ({"ratio": 0.5}, "ratio must be a number of at least 1, not 0.5"),
        ({"ratio": float("nan")}, "ratio must be"),
        ({"ratio": float("inf")}, "ratio must be"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, not -1"),
        ({"seed": True}, "seed must be a whole number"),
        ({"overrides": {"train.weight_decay": -1}}, "train.weight_decay must be 0 or more"),
        ({"overrides": {"train.warmup": 0.5, "train.steps": 1}}, "1 steps at 0.5 are too few"),
        ({"overrides": {"train.warmup": 0}}, "train.warmup must be a share between 0 and 1"),
        ({"overrides": {"teacher.warmup": 1.0}}, "teacher.warmup must be a share"),
        ({"overrides": {"train.lr": float("inf")}}, "train.lr must be a finite number"),
        ({"overrides": {"train.learning_rate": 1}}, "unknown configuration key 'train.learning"),
        ({"overrides": {"train.stepz": 1}}, "did you mean 'train.steps'"),
        ({"overrides": {"trian.steps": 1}}, "unknown configuration key 'trian.steps'"),
        ({"overrides": {"train.steps": "many"}}, "train.steps: 'many' is not of type int"),
        ({"overrides": {"train.steps": 0}}, "train.steps must be above 0"),
        ({"overrides": {"train.precision": "half"}}, "unknown value of train.precision 'half'"),
        ({"overrides": {"teacher.stepz": 1}}, "did you mean 'teacher.steps'"),
        ({"method": "kd", "overrides": {"method.wieght": 1}}, "did you mean 'weight'"),
        ({"method": "kd", "overrides": {"method.variant": "mze"}}, "did you mean 'mse'"),
        ({"method": "kd", "overrides": {"method.scal": 1}}, "did you mean 'scale'"),
        ({"method": "kd", "overrides": {"method.scale": -1}}, "must be 0 or more"),
        ({"method": "self", "overrides": {"method.method": "kdd"}}, "did you mean 'kd'"),
        ({"method": "self", "overrides": {"method.options": {"x": 1}}}, "unknown option of method"),
        ({"overrides": {"detector.pilar_size": 1}}, "did you mean 'pillar_size'"),
        ({"overrides": {"dataset.frames": 1}}, "unknown option of dataset 'synthetic'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        build_spec(**arguments)


def test_overrides_from_the_command_line():
    texts = ["train.lr=1e-3", "method.variant=mse", "train.batch_size=2", "detector.x=[1, 2]"]
    assert parse_overrides(texts) == {
        "train.lr": "1e-3", "method.variant": "mse", "train.batch_size": 2, "detector.x": [1, 2],
    }  # fmt: skip
    assert build_spec(overrides={"train.lr": "1e-3"}).train.lr == 0.001
    with pytest.raises(UsageError, match="expected key=value"):
        parse_overrides(["train.lr"])


def test_a_configuration_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("method: kd\nratio: 16\ntrain:\n  steps: 3\n")
    assert read_config(path) == {"method": "kd", "ratio": 16, "train.steps": 3}
    path.write_text("- a list")
    with pytest.raises(UsageError, match=r"run\.yaml: expected `key: value`"):
        read_config(path)
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot be read"):
        read_config(tmp_path / "absent.yaml")


@given(st.floats(min_value=1, max_value=1e4), st.integers(0, 10**6))
def test_equal_runs_have_equal_paths_and_different_runs_different_ones(ratio, seed):
    spec = RunSpec(seed=seed)
    other = replace(spec, detector=replace(spec.detector, ratio=ratio))
    assert (spec.record_path == other.record_path) == (ratio == 1)


def test_a_teachers_budget_is_times_the_profiles_steps():
    quick = build_spec(method="kd", teacher_budget="1/4")
    assert quick.teacher.steps == 3000 and quick.train.steps == 1200
    assert quick == build_spec(method="kd", overrides={"teacher.steps": 3000})
    assert build_spec(method="kd", teacher_budget=1) == build_spec(method="kd")
    assert build_spec(method="none", teacher_budget=2) == build_spec(method="none")


@pytest.mark.parametrize(
    "given, words",
    [
        ({"teacher_budget": "half"}, "neither a number above 0"),
        ({"teacher_budget": 2, "overrides": {"teacher.steps": 9}}, "a teacher's budget or"),
    ],
)
def test_a_teachers_budget_that_cannot_be_is_refused(given, words):
    with pytest.raises(UsageError, match=words):
        build_spec(method="kd", **given)

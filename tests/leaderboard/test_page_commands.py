"""The command of a row, read as the command line reads it, gives the row's run."""

import shlex
from dataclasses import replace

import pytest

from kdbench.cli.run import run, spec_from
from kdbench.leaderboard.commands import command
from kdbench.leaderboard.provenance import repeat
from kdbench.runs.settings import build_spec, parse_overrides
from kdbench.runs.spec import MethodSpec, RunSpec


def understood(line: str) -> RunSpec:
    """The spec that `kdbench run` makes of a command line."""
    words = shlex.split(line)
    assert words[:2] == ["kdbench", "run"]
    values = run.make_context("run", words[2:]).params
    names = ("method", "detector", "ratio", "dataset", "profile", "seed", "device")
    settings = {name: values[name] for name in names if values[name] is not None}
    return spec_from(settings | parse_overrides(values["assignments"]))


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"method": "pointdistiller", "ratio": 4.0, "seed": 3},
        {"method": "kd", "ratio": 2.5, "overrides": {"method.variant": "mse", "train.lr": 1e-5}},
        {"method": "kd", "overrides": {"method.scale": 0.125, "teacher.steps": 50}},
        {"dataset": "kitti", "profile": "standard", "overrides": {"dataset.val_frames": 38}},
        {"detector": "second", "profile": "paper"},
        {"overrides": {"detector.point_range": [0.0, -1.5, -3.0, 20.0, 1.5, 1.0]}},
        {"overrides": {"dataset.augmentation": {"rotation": 1e-5, "samples": {"Car": 2}}}},
        {"method": "shuffled", "overrides": {"method.method": "fitnet"}},
    ],
)
def test_a_command_makes_the_same_run(named):
    spec = build_spec(**named)
    assert "--spec" not in command(spec)
    assert understood(command(spec)) == spec


def test_only_what_is_not_the_default_is_set():
    line = command(build_spec(method="kd", ratio=4.0, overrides={"train.steps": 7}))
    assert line == (
        "kdbench run --method kd --detector pointpillars --ratio 4 --dataset synthetic "
        "--profile quick --seed 0 --set train.steps=7"
    )
    assert "--data-root DIR" in command(build_spec(dataset="kitti"))


@pytest.mark.parametrize("method", ["of-a-plugin", "<b>&_% $(x)"])
def test_a_run_that_no_flags_can_make_is_repeated_from_its_record(method):
    spec = replace(build_spec(), method=MethodSpec(method, {"weight": 2}))
    words = shlex.split(command(spec))
    assert words == ["kdbench", "run", "--spec", str(spec.record_path)]


def test_several_seeds_are_a_loop(record):
    specs = [build_spec(method="kd", ratio=4.0, seed=seed) for seed in (2, 0, 1)]
    records = {s.hash: record(s, 40.0) for s in specs}
    line = repeat({"hashes": [s.hash for s in specs]}, records)
    loop, rest = line.split("; do ")
    assert loop == "for s in 0 1 2"
    assert rest.replace("$s", "1").removesuffix("; done") == command(specs[2])

"""Sweeps with real processes, killed on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from kdbench.runs.records import read_records

SWEEP = [
    sys.executable, "-m", "kdbench", "sweep", "--methods", "kd,fitnet", "--seeds", "2",
    "--profile", "tiny", "--set", "train.steps=6", "--set", "teacher.steps=6",
]  # fmt: skip


@pytest.fixture
def sweep(kitti_tree, tmp_path):
    """Starts a sweep of seven cells in a folder of its own."""

    def start(name, *more):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        environment = os.environ | {"KDBENCH_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}
        data = ["--dataset", "kitti", "--data-root", str(kitti_tree), "--results", "results"]
        return subprocess.Popen(
            [*SWEEP, *data, "--json", "cells.json", *more], cwd=place, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def outcome(place):
    return {r["hash"]: (r["weights_sha256"], r["metrics"]) for r in read_records(place / "results")}


@pytest.mark.slow
def test_a_sweep_killed_three_times_ends_as_an_undisturbed_one(sweep, tmp_path):
    """And two cells at a time end as one at a time, with the same number of threads."""
    begun = time.monotonic()
    undisturbed = sweep("whole")
    assert undisturbed.wait() == 0, undisturbed.stderr.read()
    expected = outcome(tmp_path / "whole")
    assert len(expected) == 7
    whole = time.monotonic() - begun
    moments = random.Random(0)
    for _ in range(3):
        process = sweep("killed", "--jobs", "2")
        time.sleep(whole * moments.uniform(0.1, 0.2))
        assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = sweep("killed", "--jobs", "2")
    assert last.wait() == 0, last.stderr.read()
    assert outcome(tmp_path / "killed") == expected


@pytest.mark.slow
def test_a_crash_costs_one_cell_and_is_told(sweep, tmp_path):
    process = sweep("crash")
    log = tmp_path / "crash/home/runs"
    victim = None
    while victim is None and process.poll() is None:
        for path in log.glob("*/spec.json"):
            if json.loads(path.read_text())["method"]["name"] == "kd":
                victim = path.parent
        time.sleep(0.05)
    # A folder where its weights should go lets every attempt at this cell fail.
    (victim / "model.safetensors").mkdir()
    code, said = process.wait(), process.stderr.read()
    assert code == 1
    cells = json.loads((tmp_path / "crash/cells.json").read_text())
    states = {cell["hash"]: cell["state"] for cell in cells}
    assert states.pop(victim.name) == "failed"
    assert set(states.values()) == {"done"}
    assert f"log: {victim / 'sweep.log'}" in said
    assert "1 of 7 cells have no record" in said

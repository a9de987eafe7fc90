"""What noise allows to be seen: against simulated studies."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluation.resample import frame_weights, pack
from kdbench.leaderboard.cells import cells_by_table
from kdbench.leaderboard.gains import gains
from kdbench.leaderboard.power import Noise, detectable, measured_noise, seeds_needed
from kdbench.leaderboard.scores import scores_of
from kdbench.runs.settings import build_spec

FRAMES, DRAWS = 150, 300
WEIGHTS = frame_weights(FRAMES, DRAWS)
KD = build_spec(method="kd", ratio=4)


def record(spec, values):
    """A record whose mAP is the mean over frames of `values` (FRAMES,)."""
    ap = np.broadcast_to(WEIGHTS @ values / FRAMES, (2, 1, DRAWS))
    mean = values.mean()
    return {
        "hash": spec.hash,
        "spec": spec.to_dict(),
        "metrics": {
            "bev_map": mean, "3d_map": mean, "resamples": pack(ap, FRAMES, ("car",)),
            "ap": {"bev": {"car": mean}, "3d": {"car": mean}},
        },
    }  # fmt: skip


def study(rng, seeds, between, common, own, gain=5.0):
    """Records of `none` and of a method; standard deviations as in `test_bootstrap`."""
    records, frames = [], rng.normal(0, common, FRAMES)
    for seed in range(seeds):
        kd = replace(KD, seed=seed)
        for spec, mean in ((kd.baseline(), 40), (kd, 40 + gain + frames)):
            luck = rng.normal(0, between) + rng.normal(0, own, FRAMES)
            records.append(record(spec, mean + luck))
    return records


def test_cells_are_a_methods_runs_and_those_of_none():
    records = study(np.random.default_rng(0), 3, 1, 0, 0)
    ((title, cells),) = cells_by_table(records[:-1]).items()
    assert title.startswith("pointpillars-x4 on synthetic")
    ((runs, none),) = cells
    assert [r["spec"]["seed"] for r in runs] == [0, 1]
    assert [r["spec"]["seed"] for r in none] == [0, 1, 2]
    assert {b["spec"]["method"]["name"] for b in none} == {"none"}
    assert cells_by_table(records[1::2]) == {}


def test_noise_is_measured():
    rng = np.random.default_rng(0)
    cells = [cells_by_table(study(rng, 5, 1.5, 6.0, 2.0)).popitem()[1][0] for _ in range(60)]
    found = [measured_noise([cell], "bev") for cell in cells]
    assert {noise.freedom for noise in found} == {8}
    variance = np.mean([noise.seeds for noise in found])
    assert variance == pytest.approx(1.5**2 + 2**2 / FRAMES, rel=0.2)
    assert np.mean([noise.frames for noise in found]) == pytest.approx(6**2 / FRAMES, rel=0.2)
    assert measured_noise([(runs[:1], none[:1]) for runs, none in cells], "bev") is None


@pytest.mark.parametrize("seeds", [3, 6])
def test_a_detectable_gain_is_seen_four_times_of_five(seeds):
    between, common = 1.0, 3.0
    noise = Noise(between**2, common**2 / FRAMES, FRAMES, 100)
    gain = detectable(noise, seeds, FRAMES)
    rng, seen = np.random.default_rng(1), 0
    for _ in range(200):
        ((_, cells),) = cells_by_table(study(rng, seeds, between, common, 0.1, gain)).items()
        own, none = (scores_of(runs) for runs in cells[0])
        seen += gains(own, none, {})["bev_map"].significant
    assert seen / 200 == pytest.approx(0.8, abs=0.08)


def test_seeds_needed_is_the_least_number_that_shows_the_gain():
    noise = Noise(4.0, 0.1, FRAMES, 10)
    for gain in (1.5, 3.0, 8.0):
        n = seeds_needed(noise, gain, FRAMES)
        assert detectable(noise, n, FRAMES) <= gain
        assert n == 2 or detectable(noise, n - 1, FRAMES) > gain


def test_no_number_of_seeds_helps_when_frames_are_too_few():
    noise = Noise(1.0, 1.0, FRAMES, 10)
    assert seeds_needed(noise, 1.0, FRAMES) is None
    assert seeds_needed(noise, 1.0, 100 * FRAMES) is not None

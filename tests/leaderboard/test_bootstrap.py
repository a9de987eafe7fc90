"""Intervals: do they cover what they should?"""

import numpy as np
import pytest
from scipy import stats

from kdbench.evaluation.precision import average_precision, precision_curves
from kdbench.evaluation.resample import METRICS, frame_weights, pack
from kdbench.leaderboard.bootstrap import interval, paired_intervals

FRAMES, DRAWS = 150, 200
WEIGHTS = frame_weights(FRAMES, DRAWS)


def linear_coverage(seeds, between, common, own, trials=400):
    """How often the interval covers the truth, 0, when a run's score is a mean over frames.

    Standard deviations: `between` seeds, of a frame for all seeds alike (`common`), and of a frame
    for each seed on its own.
    """
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(trials):
        values = (
            rng.normal(0, between, (seeds, 1))
            + rng.normal(0, common, (1, FRAMES))
            + rng.normal(0, own, (seeds, FRAMES))
        )
        found = interval(values.mean(1), values @ WEIGHTS.T / FRAMES)
        covered += found.low <= 0 <= found.high
    return covered / trials


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("between", "common", "own"),
    [(0, 0, 3), (0, 3, 1), (0.25, 0, 3), (0.25, 3, 3), (1, 0, 3), (1, 3, 0.5)],
)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, between, common, own):
    assert 0.925 <= linear_coverage(seeds, between, common, own) <= 0.99


class Street:
    """Frames with objects, some hard to find; and a detector that looks at them."""

    def __init__(self, rng):
        counts = rng.poisson(3, FRAMES)
        self.rng, self.counts = rng, counts
        self.frame = np.repeat(np.arange(FRAMES), counts)
        self.hardness = rng.normal(0, 1, len(self.frame))

    def detect(self):
        """Scores, frames and hits of one detector, best first; its quality depends on its seed."""
        rng, quality = self.rng, self.rng.normal(0, 0.15)
        luck = rng.normal(0, 0.5, len(self.frame))
        hit = rng.random(len(self.frame)) < stats.logistic.cdf(0.8 + quality - self.hardness + luck)
        false = rng.integers(0, FRAMES, rng.poisson(2 * FRAMES))
        score = np.concatenate(
            [
                rng.normal(1 - 0.3 * self.hardness[hit], 1),
                rng.normal(-0.5 - quality, 1, len(false)),
            ]
        )
        frame = np.concatenate([self.frame[hit], false])
        correct = np.arange(len(score)) < hit.sum()
        order = np.argsort(-score)
        return score[order], frame[order], correct[order]

    def ap(self, detections, weights):
        score, frame, correct = detections
        curve = precision_curves(
            score, frame, correct, correct.astype(int), (~correct).astype(int),
            correct.astype(float), self.counts, weights, False,
        )[0]  # fmt: skip
        return 100 * average_precision(curve)[1]


def test_two_copies_of_one_detector_do_not_differ():
    """In 200 comparisons of a detector with itself, trained with three other seeds."""
    rng = np.random.default_rng(1)
    covered, once = 0, np.ones(FRAMES, np.int64)
    for _ in range(200):
        street = Street(rng)
        plain, drawn = [], []
        for _ in range(3):
            a, b = street.detect(), street.detect()
            plain.append(street.ap(a, once) - street.ap(b, once))
            drawn.append([street.ap(a, w) - street.ap(b, w) for w in WEIGHTS])
        found = interval(np.array(plain), np.array(drawn))
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 200 <= 0.97


def record(shift=0.0, seed=0, frames=FRAMES):
    """A record of one class around 50 AP."""
    rng = np.random.default_rng(seed)
    frame_luck = np.random.default_rng(99).normal(0, 20, frames)  # the same for all runs
    values = 50 + shift + frame_luck + rng.normal(0, 2, frames)
    draws = frame_weights(frames, DRAWS) @ values / frames
    ap = np.broadcast_to(draws, (len(METRICS), 1, DRAWS))
    entry = {metric: {"R40": [0, values.mean(), 0]} for metric in METRICS}
    packed = pack(ap, frames, ("car",))
    return {"metrics": {"kitti": {"car": entry}, "resamples": packed}}


def test_pairing_takes_out_what_the_frames_do_to_both():
    runs = [record(3.0, seed) for seed in range(3)]
    bases = [record(0.0, 10 + seed) for seed in range(3)]
    found = paired_intervals(runs, bases)
    assert set(found) == {"bev_map", "3d_map", "bev_car", "3d_car"}
    gain = found["bev_map"]
    assert gain.value == pytest.approx(3, abs=0.5)
    assert gain.significant
    assert gain.p < 0.05
    assert gain.high - gain.low < 3  # one run's own interval is 6 points wide
    assert not paired_intervals(bases, [record(0.0, 20 + s) for s in range(3)])[
        "3d_map"
    ].significant


def test_one_seed_has_the_noise_of_frames_alone():
    found = paired_intervals([record(1.0, 1)], [record(0.0, 2)])["bev_map"]
    assert found.seeds == 1
    assert found.low < found.value < found.high


def test_records_without_resamples_or_of_other_frames_have_no_interval():
    bare = {"metrics": {"kitti": {}}}
    assert paired_intervals([bare], [record()]) == {}
    assert paired_intervals([record()], [record(frames=FRAMES - 1)]) == {}
    assert paired_intervals([], []) == {}

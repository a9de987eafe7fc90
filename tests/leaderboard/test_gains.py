"""Intervals of gains: do they cover what they should, whatever the seeds are like?"""

import numpy as np
import pytest
from scipy import stats

from kdbench.evaluation.resample import frame_weights, pack
from kdbench.leaderboard.gains import Gain, gains, holm, priors
from kdbench.leaderboard.scores import Scores, scores_of

FRAMES, DRAWS = 150, 200
WEIGHTS = frame_weights(FRAMES, DRAWS)
ROWS = 12


def scores(rng, seeds, between, common, own=2.0, heavy=False) -> Scores:
    """Runs whose AP is a mean over frames; `common` (FRAMES,) is what frames do to all of them.

    Standard deviations: `between` seeds, and `own` of a frame for each seed by itself.
    """
    luck = rng.standard_t(4, (seeds, 1)) / np.sqrt(2) if heavy else rng.normal(0, 1, (seeds, 1))
    values = 50 + between * luck + common + rng.normal(0, own, (seeds, FRAMES))
    drawn = values @ WEIGHTS.T / FRAMES
    centred = drawn - drawn.mean(0)
    return Scores(
        keys=("bev_map",),
        of_seeds=values.mean(1)[:, None],
        drawn=drawn.mean(0)[None],
        own=np.array([centred.var(1).sum() / (seeds - 1)]) if seeds > 1 else np.array([np.nan]),
        frames=(FRAMES,),
    )


def table(rng, seeds, of_none, spread, heavy):
    """A table in which no method gains anything: its gains."""
    frames = rng.normal(0, 4, FRAMES)
    deviations = spread(rng)
    common = [frames + rng.normal(0, 3, FRAMES) for _ in deviations]  # methods differ in frames
    none = scores(rng, of_none, deviations[0], common[0], heavy=heavy)
    rows = [
        scores(rng, seeds, d, c, heavy=heavy)
        for d, c in zip(deviations[1:], common[1:], strict=True)
    ]
    known = priors([none, *rows])
    return [gains(row, none, known)["bev_map"] for row in rows]


def equal(rng):
    return np.full(ROWS + 1, 1.5)


def unequal(rng):
    return 1.5 * np.sqrt(6 / rng.chisquare(6, ROWS + 1))


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("spread", [equal, unequal])
@pytest.mark.parametrize(("seeds", "of_none"), [(2, 2), (3, 5), (5, 15), (15, 15)])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, of_none, spread, heavy):
    rng = np.random.default_rng(seeds)
    covered = np.array(
        [
            [gain.low <= 0 <= gain.high for gain in table(rng, seeds, of_none, spread, heavy)]
            for _ in range(300)
        ]
    )
    print(f"mean {covered.mean():.3f}, worst row {covered.mean(0).min():.3f}")
    assert 0.92 <= covered.mean() <= 0.975  # the simulation's own standard error is 0.007


def test_moderated_intervals_are_shorter():
    """Three seeds each, a dozen methods: against each row by itself."""
    rng, whole, alone = np.random.default_rng(0), [], []
    for _ in range(100):
        rows = [scores(rng, 3, 1.5, 0.0) for _ in range(ROWS)]
        known = priors(rows)
        whole.append([_width(gains(row, rows[0], known)) for row in rows[1:]])
        alone.append([_width(gains(row, rows[0], {})) for row in rows[1:]])
    assert np.mean(whole) < 0.7 * np.mean(alone)


def _width(found):
    return found["bev_map"].high - found["bev_map"].low


def test_two_rows_are_welchs_test():
    rng = np.random.default_rng(3)
    row, none = (scores(rng, n, d, 0.0, own=0.0) for n, d in ((5, 1.0), (9, 3.0)))
    found = gains(row, none, {})["bev_map"]
    welch = stats.ttest_ind(row.of_seeds[:, 0], none.of_seeds[:, 0], equal_var=False)
    assert found.p == pytest.approx(welch.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(welch.confidence_interval()))


def test_one_seed_against_several_is_students_test():
    rng = np.random.default_rng(4)
    row, none = scores(rng, 1, 1.0, 0.0, own=0.0), scores(rng, 6, 1.0, 0.0, own=0.0)
    found, plain = gains(row, none, {})["bev_map"], none.of_seeds[:, 0]
    t = (row.mean[0] - plain.mean()) / (plain.std(ddof=1) * np.sqrt(1 + 1 / 6))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 5))


def test_a_fixed_row_adds_no_noise_of_seeds():
    rng = np.random.default_rng(8)
    teacher, none = scores(rng, 1, 1.0, 0.0, own=0.0), scores(rng, 6, 1.0, 0.0, own=0.0)
    found, plain = gains(teacher, none, {}, fixed=True)["bev_map"], none.of_seeds[:, 0]
    assert found.error == pytest.approx(plain.std(ddof=1) / np.sqrt(6))
    assert found.freedom == pytest.approx(5)


def test_one_seed_each_has_the_noise_of_frames_alone():
    rng = np.random.default_rng(5)
    row, none = scores(rng, 1, 1.0, 0.0, own=3.0), scores(rng, 1, 1.0, 0.0, own=3.0)
    found = gains(row, none, {})["bev_map"]
    assert found.error == found.of_frames == pytest.approx(3 * np.sqrt(2 / FRAMES), rel=0.2)
    assert np.isinf(found.freedom)


def test_what_frames_do_to_both_sides_is_taken_out():
    rng = np.random.default_rng(6)
    frames = rng.normal(0, 30, FRAMES)
    row, none = scores(rng, 4, 0.1, frames), scores(rng, 4, 0.1, frames)
    assert gains(row, none, {})["bev_map"].of_frames < 0.3
    other = scores(rng, 4, 0.1, rng.permutation(frames))
    assert gains(other, none, {})["bev_map"].of_frames > 2


def test_a_gain_that_would_be_seen_is_seen_four_times_of_five():
    noise = Gain(0.0, 1.3, 9.0, 0.4)
    rng = np.random.default_rng(7)
    # A noncentral t: the value moves, and so does its error.
    errors = 1.3 * np.sqrt(rng.chisquare(9, 4000) / 9)
    values = noise.smallest_seen() + rng.normal(0, 1.3, 4000)
    seen = [Gain(v, e, 9.0, 0.0).significant for v, e in zip(values, errors, strict=True)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)
    assert noise.smallest_seen(20) > noise.smallest_seen()


def made(ap: dict, frames: int = FRAMES) -> dict:
    drawn = pack(np.full((2, 2, 50), 40.0), frames, tuple(ap))
    return {"metrics": {"ap": {"bev": ap, "3d": ap}, "resamples": drawn}}


def test_a_class_that_no_frame_shows_has_no_gain():
    row, none = (scores_of([made({"car": v, "cyclist": None})]) for v in (50.0, 40.0))
    assert row.mean[0] == 50.0  # the mean is over the classes that there are
    found = gains(row, none, {})
    assert found["bev_map"].value == 10 and "bev_cyclist" not in found


def test_rows_of_other_frames_or_without_drawn_ones_have_no_gain():
    row = scores_of([made({"car": 50.0, "cyclist": 50.0})])
    other = scores_of([made({"car": 50.0, "cyclist": 50.0}, frames=FRAMES - 1)])
    assert gains(row, other, {}) == gains(None, row, {}) == gains(row, None, {}) == {}
    assert scores_of([{"metrics": {"kitti": {}}}]) is None
    assert scores_of([]) is None


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(p, expected):
    assert holm(p) == pytest.approx(expected)

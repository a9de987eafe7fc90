"""Rows of a folder against the published rows of the same training."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.leaderboard.reproduced import add_notes, predicted
from kdbench.leaderboard.rows import leaderboard


def test_nineteen_of_twenty_rows_of_the_same_training_lie_within():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        values = rng.normal(60, 1.5, 5).tolist()
        low, high = predicted(values, seeds=2)
        inside += low <= rng.normal(60, 1.5, 2).mean() <= high
    assert inside / 4000 == pytest.approx(0.95, abs=0.01)


def test_more_seeds_on_either_side_make_it_narrower():
    def width(values, seeds):
        low, high = predicted(values, seeds)
        return high - low

    assert width([1, 2, 3], 1) > width([1, 2, 3], 3) > width([1, 2, 3] * 3, 3)


@pytest.mark.parametrize(("bev", "word"), [(40.5, "agrees with"), (60.0, "not what was published")])
def test_a_table_says_whether_its_rows_are_what_was_published(record, student, bev, word):
    theirs = [record(replace(student("a"), seed=seed), 40.0 + seed) for seed in range(1, 4)]
    own = [record(student("a"), bev), record(student("b"), 50.0), record(student("none"), 39.0)]
    rows = leaderboard(own)
    add_notes(rows, own, theirs)
    (note,) = [n for n in rows[0]["table"]["notes"] if "published runs" in n]
    assert note.startswith("a, 1 seed, ") and word in note and f"{bev:.1f} BEV" in note


@pytest.mark.parametrize("seeds", [1, 3])
def test_neither_one_published_seed_nor_the_row_itself_predicts_anything(record, student, seeds):
    own = [record(replace(student("a"), seed=seed), 40.0 + seed) for seed in range(seeds)]
    rows = leaderboard(own)
    add_notes(rows, own, own)
    assert not any("published" in note for note in rows[0]["table"]["notes"])

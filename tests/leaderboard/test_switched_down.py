"""What a table says of methods whose factor was tuned down."""

import json
from dataclasses import replace

import pytest

from kdbench.leaderboard.rows import leaderboard
from kdbench.runs import tuned
from kdbench.runs.spec import MethodSpec

CANDIDATE = {"name": "2%", "scale": 0.02, "bev_map": 1.0, "3d_map": 1.0}


@pytest.fixture
def notes(record, student, tmp_path, monkeypatch):
    """The notes of a table of `fitnet` with a factor, after it was tuned."""
    monkeypatch.setattr(tuned, "FOLDER", tmp_path)
    (tmp_path / "pointpillars").mkdir()

    def make(scale: float, **outcome) -> str:
        found = {
            "method": "fitnet", "scale": 0.02, "published_share": None, "helps": False,
            "candidates": [CANDIDATE] * 2,
        } | outcome  # fmt: skip
        (tmp_path / "pointpillars/fitnet.json").write_text(json.dumps(found))
        spec = replace(student("fitnet"), method=MethodSpec("fitnet", {}, scale))
        rows = leaderboard([record(student("none"), 40.0), record(spec, 41.0)])
        return " ".join(rows[0]["table"]["notes"])

    return make


def test_a_factor_that_is_small_for_want_of_a_better_one_is_named(notes):
    assert "no factor on the loss was better than 0: fitnet (0.02)" in notes(0.02)


def test_other_factors_and_methods_that_gained_are_not(notes):
    for text in (notes(1.0), notes(0.02, helps=True), notes(0.02, candidates=[CANDIDATE])):
        assert "Switched down" not in text

"""Traced runs in the report."""

import pytest

from kdbench.leaderboard.latex import latex
from kdbench.leaderboard.page import Sources, page
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import data_frame, markdown
from kdbench.runs.moments import MOMENTS, moments


def trace(spec, shares, cosine=0.5, part="encoder"):
    """Entries at a run's moments; a share of None: no gradient then."""
    entries = []
    for step, share in zip(moments(spec.train.steps), shares, strict=True):
        pull = {"reached": 352, "share": share, "cosine": cosine}
        parts = {"all": pull, part: pull} if share is not None else {}
        entries.append({"step": step, "detection": 2.0, "distillation": 1.0, "parts": parts})
    return entries


@pytest.fixture
def rows(student, record):
    """A method of two traced seeds, one of a seed that was not traced, and `none`."""
    made = [record(student("none"), 40.0), record(student("untraced"), 41.0)]
    for seed, share in ((0, 0.9), (1, 0.5)):
        spec = student("traced", seed=seed)
        one = record(spec, 42.0)
        shares = [share] + [None] + [0.1] * (len(MOMENTS) - 2)
        one["training"]["trace"] = trace(spec, shares, cosine=share - 0.6)
        made.append(one)
    return leaderboard(made)


def test_means_over_seeds_and_nothing_where_nothing_was_traced(rows):
    by_name = {row["method"]: row for row in rows}
    row = by_name["traced"]
    assert row["pull_reached"] == 352 and row["pull_parts"] == "encoder"
    assert row["pull_share_0"] == pytest.approx(0.7)
    assert row["pull_share_1"] is None  # no gradient at that moment
    assert row["pull_share_7"] == pytest.approx(0.1)
    assert row["pull_cosine_early"] == pytest.approx(0.1)
    assert by_name["untraced"]["pull_reached"] is None
    assert by_name["none"]["pull_share_0"] is None


def test_the_tables_and_the_page_show_it(rows):
    text = markdown(rows)
    lines = text[text.index("### Pull") :].splitlines()
    assert lines[2] == "| method | reaches | start | 1/32 | 1/16 | 1/8 | 1/4 | 1/2 | 3/4 | end | " \
        "cos early | cos late |"  # fmt: skip
    (line,) = (line for line in lines if line.startswith("| traced |"))
    assert line.startswith("| traced | 352 encoder | 70 % | - | 10 % |")
    assert "How hard the loss pulls" in page(rows, Sources())
    assert "pull_share_0" in data_frame(rows).columns
    assert r"traced & $352$ encoder & $70$ $\%$ & -- & $10$ $\%$" in latex(rows)


def test_without_a_traced_run_there_is_no_table(student, record):
    rows = leaderboard([record(student("none"), 40.0), record(student("a"), 41.0)])
    assert "### Pull" not in markdown(rows)
    assert "How hard the loss pulls" not in page(rows, Sources())

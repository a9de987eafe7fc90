"""Whether one table orders methods as another does."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kdbench.leaderboard.page import Sources, page
from kdbench.leaderboard.proxy import ceiling, difference, proxies
from kdbench.leaderboard.rank import kendall
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import data_frame, markdown

SHORT = {"none": 40, "a": 42, "b": 44, "c": 46, "d": 48}
LONG = {"none": 60, "a": 62, "b": 66, "c": 64, "d": 68}  # b and c the other way round


@pytest.fixture
def rows(record, student):
    """Two budgets, three seeds each."""
    return leaderboard([
        record(replace(student(name, budget=budget), seed=seed), bev + 0.01 * seed)
        for budget, figures in ((1, SHORT), (4, LONG))
        for name, bev in figures.items()
        for seed in range(3)
    ])  # fmt: skip


def test_tau_is_the_share_of_pairs_ordered_alike_less_the_others(rows):
    bev, three = proxies(rows)
    assert bev["tables"] == "pointpillars x4, 1,200 steps to pointpillars x4, 4,800 steps"
    assert (bev["metric"], three["metric"]) == ("bev", "3d")
    assert bev["value"] == pytest.approx((5 - 1) / 6) and bev["methods"] == 4
    assert bev["low"] <= bev["value"] <= bev["high"] <= 1
    assert (bev["pairs"], bev["alike"]) == (6, pytest.approx(5 / 6))
    assert bev["ceiling"] == pytest.approx(1)  # seeds differ by next to nothing


def test_pairs_within_noise_do_not_count(record, student):
    noisy = leaderboard([
        record(replace(student(name, budget=budget), seed=seed), bev + 5 * seed)
        for budget, figures in ((1, SHORT), (4, LONG))
        for name, bev in figures.items()
        for seed in range(3)
    ])  # fmt: skip
    assert proxies(noisy)[0]["pairs"] == 0 and proxies(noisy)[0]["alike"] is None


def test_the_ceiling_falls_with_the_seeds_noise():
    rng = np.random.default_rng(0)
    means = np.arange(12.0)

    def of(noise):
        return ceiling([mean + rng.normal(0, noise, 6) for mean in means])

    assert of(0.01) == pytest.approx(1)
    assert 1 > of(3) > of(30)
    assert abs(of(1e6)) < 0.3
    assert ceiling([[1.0]] * 9) is None  # no halves of one seed


def test_tables_are_compared_that_differ_in_one_thing(rows):
    short, long = (next(r for r in rows if r["steps"] == steps) for steps in (1200, 4800))
    assert difference(short, long) == "steps"
    assert difference(short, short) is None
    other = short | {"ratio": 16.0, "teacher": "another"}
    assert difference(short, other) == "ratio"
    assert difference(long, other) is None


def test_kendall_is_scipys_and_zero_for_ties():
    pairs = np.random.default_rng(1).normal(size=(9, 2))
    assert kendall(pairs) == stats.kendalltau(*pairs.T).statistic
    assert kendall(np.ones((5, 2))) == 0


def test_markdown_and_page_show_it_and_the_sheet_stays_flat(rows):
    assert "## Does a short training tell?" in markdown(rows)
    assert "Does a short training tell?" in page(rows, Sources())
    assert not any("seeds" in c and "map" in c for c in data_frame(rows).columns)
    one = [row for row in rows if row["steps"] == 1200]
    assert "Does a short training tell?" not in markdown(one)

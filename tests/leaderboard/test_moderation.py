"""Moderated variances: what rows tell about each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import polygamma

from kdbench.leaderboard.moderation import Prior, fit_prior, inverse_trigamma


@given(st.floats(1e-3, 1e4))
def test_the_inverse_of_trigamma(value):
    assert float(polygamma(1, inverse_trigamma(value))) == pytest.approx(value, rel=1e-6)


def drawn(rng, rows, freedom, s0, d0):
    """Sample variances of rows whose own variances are drawn from the prior."""
    own = s0 * d0 / rng.chisquare(d0, rows)
    return own * rng.chisquare(freedom, rows) / freedom


def test_the_prior_is_found_again():
    rng = np.random.default_rng(0)
    found = fit_prior(drawn(rng, 20_000, 4, 2.5, 8.0), np.full(20_000, 4))
    assert found.variance == pytest.approx(2.5, rel=0.03)
    assert found.freedom == pytest.approx(8.0, rel=0.1)
    assert found.pooled == 80_000


def test_equal_variances_are_pooled():
    rng = np.random.default_rng(1)
    found = fit_prior(3.0 * rng.chisquare(2, 400) / 2, np.full(400, 2))
    assert found.freedom > 30
    variance, freedom = found.moderate(40.0, 2)
    assert 2.5 < variance < 6.0
    assert freedom <= found.pooled


def test_a_row_of_one_run_has_the_priors_variance():
    assert Prior(2.0, 6.0, 40.0).moderate(0.0, 0) == (2.0, 6.0)
    assert Prior(2.0, 6.0, 4.0).moderate(8.0, 2) == (pytest.approx(3.5), 4.0)


def test_few_rows_and_equal_runs_have_no_prior():
    assert fit_prior(np.ones(5), np.full(5, 2)) is None
    assert fit_prior(np.ones(9), np.r_[np.full(5, 2), np.zeros(4)]) is None
    assert fit_prior(np.zeros(9), np.full(9, 2)) is None

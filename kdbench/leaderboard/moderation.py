"""Variances of few runs each, sharpened by what all rows of a table tell about variances.

Three seeds say little about a row's variance over seeds, but twenty rows say well how large such
variances are and how far they differ. With the empirical Bayes of Smyth (2004, "Linear models and
empirical Bayes methods", the R package limma), variances are s0^2 d0 / chi2(d0) over rows; a row's
own variance s^2 of d degrees of freedom becomes

    (d0 s0^2 + d s^2) / (d0 + d)      of d0 + d degrees of freedom,

which are no more than all rows have together.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

FEWEST_ROWS = 6  # say how far variances differ; fewer are left as they are
LOWEST = 1e-5  # of the median variance: where a row's runs are all equal


@dataclass(frozen=True)
class Prior:
    """How variances are spread over the rows of a table."""

    variance: float  # s0^2
    freedom: float  # d0; infinite where rows differ by no more than few seeds explain
    pooled: float  # degrees of freedom of all rows together

    def moderate(self, variance: float, freedom: int) -> tuple[float, float]:
        """A row's variance and its degrees of freedom; of a row of one run it is the prior's."""
        total = min(self.freedom + freedom, self.pooled)
        if np.isinf(self.freedom):
            return self.variance, total
        both = self.freedom * self.variance + freedom * (variance if freedom else 0.0)
        return both / (self.freedom + freedom), total


def fit_prior(variances: np.ndarray, freedom: np.ndarray) -> Prior | None:
    """The prior of rows with `variances` (r,) of `freedom` (r,); None where they are too few.

    Moments of the log variances (Smyth, section 6.2). Rows of one run are left out.
    """
    known = freedom > 0
    variances, freedom = variances[known], freedom[known].astype(float)
    if len(variances) < FEWEST_ROWS or not np.median(variances) > 0:
        return None
    logs = np.log(np.maximum(variances, LOWEST * np.median(variances)))
    centred = logs - digamma(freedom / 2) + np.log(freedom / 2)
    excess = centred.var(ddof=1) - polygamma(1, freedom / 2).mean()
    pooled = float(freedom.sum())
    if excess <= 0:
        return Prior(float((variances * freedom).sum() / pooled), np.inf, pooled)
    d0 = 2 * inverse_trigamma(excess)
    variance = np.exp(centred.mean() + digamma(d0 / 2) - np.log(d0 / 2))
    return Prior(float(variance), float(d0), pooled)


def inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = value, by Newton's method on 1 / trigamma (Smyth, appendix)."""
    x = 0.5 + 1 / value  # from below, whence the steps converge
    for _ in range(50):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / polygamma(2, x)
        x += step
        if -step / x < 1e-8:
            break
    return float(x)

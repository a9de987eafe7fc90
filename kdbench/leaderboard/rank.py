"""How alike two orders of the same methods are, with an interval over methods."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from kdbench.leaderboard.gains import LEVEL

FEWEST = 4  # methods; a rank correlation of fewer says nothing
DRAWS = 1000


def over_methods(pairs: np.ndarray, statistic: Callable[[np.ndarray], float]) -> dict | None:
    """`value`, `low`, `high` and `methods` of a statistic of pairs (m, 2), one row a method.

    The interval comes from drawing methods with replacement; None for fewer than FEWEST.
    """
    if len(pairs) < FEWEST:
        return None
    picks = np.random.default_rng(0).integers(0, len(pairs), (DRAWS, len(pairs)))
    drawn = [statistic(pairs[pick]) for pick in picks if len(set(pick.tolist())) > 2]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = statistic(pairs)
    return {"value": value, "low": float(low), "high": float(high), "methods": len(pairs)}


def spearman(pairs: np.ndarray) -> float:
    """0 where all gains on a side are equal."""
    ranks = stats.rankdata(pairs, axis=0)
    if (ranks.std(axis=0) == 0).any():
        return 0.0
    return float(np.corrcoef(ranks.T)[0, 1])


def kendall(pairs: np.ndarray) -> float:
    """Tau-b: of pairs of methods, the share ordered alike less the share ordered otherwise.

    Ties are taken care of; 0 where all gains on a side are equal.
    """
    tau = stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic
    return 0.0 if np.isnan(tau) else float(tau)

"""What papers report, held against a table's own figures.

A claim is confirmed when the gain is above 0 beyond noise, all claims of the table looked at
(Holm), and its interval reaches the reported size; smaller when it is above 0 and its interval
ends below that size; not of that size when it is not above 0 and ends below that size; else it
cannot be told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.leaderboard.gains import LEVEL, Gain, Priors, gains, holm
from kdbench.leaderboard.reported import Reported, reported
from kdbench.leaderboard.scores import Scores
from kdbench.leaderboard.significance import table_priors

Row = dict[str, Any]
ScoresOf = Callable[[Sequence[str]], Scores | None]


@dataclass(frozen=True)
class Measured:
    """A claim's own figures: the row it is of, and the gain."""

    row: Row
    reported: Reported
    gain: Gain


def set_claims(rows: Sequence[Row], scores_of: ScoresOf) -> None:
    """Sets `claims` in the `table` of rows that were judged before (`verdict.py`).

    A line for each gain that is reported for a row and was measured: `claim` (in words), `method`
    (the row's name), `over`, `metric`, `reported`, `value`, `low`, `high` and `verdict`; none in a
    table about which nothing is reported.
    """
    known = table_priors(rows, scores_of)
    found = [
        measured
        for claim in reported(rows[0]["detector"], rows[0]["ratio"])
        for measured in _measured(claim, rows, scores_of, known)
    ]
    corrected = holm([each.gain.p for each in found])
    lines = [_line(each, p) for each, p in zip(found, corrected, strict=True)]
    for row in rows:
        row["table"]["claims"] = lines


def _measured(claim: Reported, rows, scores_of: ScoresOf, known: Priors) -> list[Measured]:
    """Of each row of the method that is claimed to gain, the gain over the first of the other."""
    over = next((row for row in rows if row["method"] == claim.over), None)
    if over is None:
        return []
    other, found = scores_of(over["hashes"]), []
    for row in rows:
        if row["method"] == claim.method:
            own = scores_of(row["hashes"])
            gain = _gain(own, other, known, over["role"] == "teacher").get(f"{claim.metric}_map")
            found += [Measured(row, claim, gain)] if gain and _is_known(own, other) else []
    return found


def _gain(own, other, known: Priors, over_teacher: bool) -> dict[str, Gain]:
    if not over_teacher:
        return gains(own, other, known)
    lead = gains(other, own, known, fixed=True)  # of the one network that a teacher is
    return {k: Gain(-g.value, g.error, g.freedom, g.of_frames) for k, g in lead.items()}


def _is_known(own: Scores, other: Scores) -> bool:
    """Whether seeds tell the noise: an interval over frames alone decides nothing."""
    return max(len(own.of_seeds), len(other.of_seeds)) > 1


def verdict(gain: Gain, corrected: float, claimed: float) -> str:
    """`corrected` is the gain's p-value, corrected for all claims that are looked at."""
    if gain.value > 0 and corrected < 1 - LEVEL:
        return "confirmed" if gain.high >= claimed else "smaller"
    return "not of that size" if gain.high < claimed else "cannot be told"


def _line(each: Measured, corrected: float) -> Row:
    claim, gain = each.reported, each.gain
    over = "its teacher" if claim.over == "teacher" else claim.over
    return {
        "claim": f"{each.row['label']} over {over}",
        "method": each.row["label"],
        "over": claim.over,
        "metric": claim.metric,
        "reported": claim.gain,
        "value": gain.value,
        "low": gain.low,
        "high": gain.high,
        "verdict": verdict(gain, corrected, claim.gain),
    }

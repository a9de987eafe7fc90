"""What students that learned elsewhere do on real frames, and whether gains there are the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.gains import Priors, gains, priors
from kdbench.leaderboard.rank import over_methods, spearman
from kdbench.leaderboard.scores import Scores, scores_of
from kdbench.runs.records import Record

Row = dict[str, Any]
ENDS = ("low", "high", "p")


def set_real(rows: Sequence[Row], records: Mapping[str, Record]) -> None:
    """Sets what one table's rows score on real frames, from the records' lists `transfer`.

    `real_bev_map`: mean over seeds; `real_bev_gain`, `_low`, `_high`, `_p`: over `none`, as on the
    table's own frames; `real_frames`: which, in words. Those frames count that most runs of the
    table were scored on. None where a run of a row, or of its `none`, lacks them. In the rows'
    `table`, `real_rank`: by metric the rank correlation of gains on the table's frames and on real
    ones, with its interval over methods.
    """
    which = _frames_of([records[run] for row in rows for run in row["hashes"]])
    scores = {tuple(row["hashes"]): _scores(row["hashes"], records, which) for row in rows}
    known = priors(s for row in rows if (s := scores[tuple(row["hashes"])]) and _learns(row))
    for row in rows:
        own = scores[tuple(row["hashes"])]
        none = _scores(row["none"], records, which) if _learns(row) else None
        _set_row(row, own, none, known, which)
    ranks = {metric: rank_correlation(rows, metric) for metric in METRICS}
    table = rows[0]["table"]
    table["notes"] = table["notes"] + [_in_words(m, rank) for m, rank in ranks.items() if rank]
    for row in rows:
        row["table"] = table | {"real_rank": ranks}


def _in_words(metric: str, rank: dict) -> str:
    interval = f"{rank['low']:.2f}..{rank['high']:.2f}"
    return (
        f"Rank correlation of gains here and on real frames, {METRICS[metric]}: "
        f"{rank['value']:.2f} ({interval}, {rank['methods']} methods)"
    )


def _learns(row: Row) -> bool:
    return row["role"] == "student"


def _frames_of(runs: Sequence[Record]) -> tuple[str, str] | None:
    """Fingerprint and split that most runs were scored on."""
    found = [(t["fingerprint"], t["split"]) for run in runs for t in run.get("transfer") or []]
    return max(sorted(set(found)), key=found.count, default=None)


def _scores(hashes: Sequence[str], records: Mapping[str, Record], which) -> Scores | None:
    found = [
        {"metrics": each}
        for run in hashes
        for each in records[run].get("transfer") or []
        if (each["fingerprint"], each["split"]) == which
    ]
    return scores_of(found) if len(found) == len(hashes) else None


def _set_row(row: Row, own: Scores | None, none: Scores | None, known: Priors, which) -> None:
    found = gains(own, none, known)
    itself = _learns(row) and row["hashes"] == row["none"]
    row["real_frames"] = f"{own.frames[0]} frames, {which[0]} {which[1]}" if own else None
    for metric in METRICS:
        key = f"{metric}_map"
        row[f"real_{key}"] = float(own.mean[own.keys.index(key)]) if own else None
        gain = None if itself else found.get(key)
        row[f"real_{metric}_gain"] = gain.value if gain else 0.0 if itself and own else None
        row |= {f"real_{metric}_gain_{end}": getattr(gain, end, None) for end in ENDS}


def rank_correlation(rows: Sequence[Row], metric: str) -> dict | None:
    """Spearman's, of gains on the table's frames and on real ones; its interval over methods."""
    keys = f"{metric}_gain", f"real_{metric}_gain"
    pairs = [
        [row[key] for key in keys]
        for row in rows
        if row["method"] not in ("none", "teacher") and all(row[key] is not None for key in keys)
    ]
    return over_methods(np.array(pairs), spearman)

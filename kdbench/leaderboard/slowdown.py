"""Did a detector become slower? A ratio of medians, and a rank test over the samples.

The test asks whether the samples differ by more than their own spread. It cannot know what
differs from one process to the next (clock rates, memory layout); that is what the limit on the
ratio is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.stats import mannwhitneyu

from kdbench.leaderboard.pairing import Pair
from kdbench.measure.contention import DISTURBED
from kdbench.runs.records import differences

LEVEL = 0.01
MACHINE = ("device", "cpu", "threads")  # of a record's environment


@dataclass(frozen=True)
class Latencies:
    """A cell's latencies before and after, over the pairs that can be compared in this."""

    base: float  # p50 in ms, mean over the pairs
    new: float
    samples: tuple[list[float], list[float]] | None  # before and after; None: a record has none
    excluded: tuple[str, ...]  # why latencies of a pair are left out
    judged: bool  # False when all pairs are left out; the figures then are those of all


def latencies(pairs: Sequence[Pair]) -> Latencies:
    """The latencies of a cell's pairs, one pair a seed."""
    reasons = [untrusted(pair) for pair in pairs]
    trusted = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    shown = trusted or pairs
    base, new = _samples([p.base for p in shown]), _samples([p.new for p in shown])
    return Latencies(
        base=fmean(pair.base.p50 for pair in shown),
        new=fmean(pair.new.p50 for pair in shown),
        samples=(base, new) if base and new else None,
        excluded=tuple(dict.fromkeys(reason for reason in reasons if reason)),
        judged=bool(trusted),
    )


def untrusted(pair: Pair) -> str | None:
    """Why the latencies of a pair say nothing about its code; None when they do."""
    ours, theirs = ({k: run.environment.get(k) for k in MACHINE} for run in (pair.base, pair.new))
    other = differences(ours, theirs)
    if other:
        return f"another machine ({'; '.join(other)})"
    latencies = (run.record["latency"] for run in (pair.base, pair.new))
    if any((latency.get("contention") or 0) > DISTURBED for latency in latencies):
        return "other programs used the processor meanwhile"
    return None


def _samples(runs) -> list[float]:
    """The samples of all runs; none where one run has none."""
    samples = [run.record["latency"].get("samples") or [] for run in runs]
    return [x for own in samples for x in own] if all(samples) else []


def rank_test(lower: Sequence[float], higher: Sequence[float]) -> float:
    """How often samples of one distribution would rank as far above one another by chance.

    The one-sided p-value of the test of Mann and Whitney (1947).
    """
    return float(mannwhitneyu(higher, lower, alternative="greater").pvalue)

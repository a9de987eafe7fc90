"""The regression gate: has anything become worse from BASE to NEW, beyond limit and noise?

What is paired is said in `pairing.py`, what counts as worse in `changes.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kdbench.leaderboard.changes import (
    REGRESSION,
    Change,
    Limits,
    accuracy_changes,
    cost_changes,
    latency_change,
)
from kdbench.leaderboard.pairing import (
    CannotCompare,
    Pair,
    Run,
    incomparable,
    pair_runs,
    read_side,
    why_alone,
    why_apart,
)
from kdbench.leaderboard.slowdown import latencies
from kdbench.runs.records import differences

# Of a record's environment: what may explain a change, and does not forbid the comparison.
SOFTWARE = ("kdbench", "commit", "dirty", "python", "torch", "numpy", "cuda")
NO_SAMPLES = "no latency samples in the records, so the limit alone decides on latency"
SHOWN = 5  # runs named in a note about many


@dataclass(frozen=True)
class Cell:
    """All changes of what differs by the seed alone, and what to know about them."""

    label: str
    seeds: tuple[int, ...]  # of NEW
    hashes: tuple[tuple[str, str], ...]  # of BASE and NEW, a pair a seed
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> list[Change]:
        """What became worse."""
        return [change for change in self.changes if change.verdict == REGRESSION]


@dataclass(frozen=True)
class Comparison:
    """Cells, the worst first, and what to know about all of them."""

    limits: Limits
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    uncompared: tuple[str, ...] = ()  # runs of BASE, each with the reason

    @property
    def regressions(self) -> list[tuple[Cell, Change]]:
        """All that became worse."""
        return [(cell, change) for cell in self.cells for change in cell.regressions]

    def to_dict(self) -> dict:
        """Plain values, as JSON has them."""
        return {"regressions": len(self.regressions), **asdict(self)}


def compare(base: Path, new: Path, limits: Limits) -> Comparison:
    """Compares two record files or results folders.

    Raises CannotCompare with one line when a side cannot be read or nothing can be compared.
    """
    problems: list[str] = []
    ours = read_side(base, problems)
    try:
        theirs = read_side(new, problems)
    except CannotCompare as error:
        raise CannotCompare(f"{error}; BASE has {_some(ours)}") from None
    if base.is_file() and new.is_file():
        pairs, alone = [Pair(ours[0], theirs[0])], ([], [])
    else:
        pairs, *alone = pair_runs(ours, theirs)
    if not pairs:
        reason = why_apart(ours, theirs) or "no run is on both sides"
        raise CannotCompare(
            f"{base} and {new} have no run in common: {reason}; BASE has {_some(ours)}"
        )
    sides = zip(("BASE", "NEW"), alone, strict=True)
    notes = [f"left out: {problem}" for problem in problems]
    notes += [f"{_some(runs)} of {side} without a partner" for side, runs in sides if runs]
    found = compare_pairs(pairs, limits, notes)
    if new.is_file():  # the one run that was asked for
        return found
    missing = [f"{_named(run)}: {why_alone(run, ours, theirs)}" for run in alone[0]]
    return replace(found, uncompared=(*missing, *found.uncompared))


def compare_pairs(pairs: Sequence[Pair], limits: Limits, notes: Sequence[str] = ()) -> Comparison:
    """Compares runs that are paired already. Raises CannotCompare when none can be compared."""
    by_reason: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_reason[incomparable(pair)].append(pair)
    good = by_reason.pop(None, [])
    left_out = [f"{_some([p.new for p in group])}: {x}" for x, group in by_reason.items()]
    uncompared = [f"{_named(p.base)}: {x}" for x, group in by_reason.items() for p in group]
    if not good:
        raise CannotCompare(f"cannot compare {left_out[0]}")
    cells = _told_apart([_cell(group, limits) for group in _by_cell(good)])
    cells.sort(key=lambda cell: -len(cell.regressions))
    notes = (*notes, *(f"left out: {x}" for x in left_out))
    return Comparison(limits, tuple(cells), notes, tuple(uncompared))


def _named(run: Run) -> str:
    return f"{run.spec.label} ({run.hash})"


def _some(runs: Sequence[Run]) -> str:
    """How many runs, and which the first ones are."""
    labels = [run.spec.label for run in runs[:SHOWN]] + ["..."] * (len(runs) > SHOWN)
    return f"{len(runs)} run{'s' * (len(runs) > 1)} ({'; '.join(labels)})"


def _by_cell(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that differ by the seed alone, together and by seed."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        specs = [run.record["spec"] | {"seed": None} for run in (pair.base, pair.new)]
        groups[repr(specs)].append(pair)
    return [sorted(group, key=lambda pair: pair.new.spec.seed) for group in groups.values()]


def _cell(pairs: Sequence[Pair], limits: Limits) -> Cell:
    spec = pairs[0].new.spec
    accuracy, note = accuracy_changes(pairs, limits)
    found = latencies(pairs)
    notes = [note] if note else []
    which = "of some seeds " if found.judged else ""
    notes += [f"latency {which}not judged: {reason}" for reason in found.excluded]
    notes += [NO_SAMPLES] if found.judged and not found.samples else []
    variant = spec.method.options.get("variant")
    name = spec.method.name if variant is None else f"{spec.method.name} ({variant})"
    return Cell(
        label=f"{name} {spec.cell} on {spec.dataset.name}",
        seeds=tuple(pair.new.spec.seed for pair in pairs),
        hashes=tuple((pair.base.hash, pair.new.hash) for pair in pairs),
        changes=(*accuracy, latency_change(found, limits), *cost_changes(pairs)),
        notes=(*notes, *_differing(pairs)),
    )


def _told_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The cells; those of one label with a run's hash beside it."""
    times = Counter(cell.label for cell in cells)
    return [
        cell if times[cell.label] == 1 else replace(cell, label=f"{cell.label} {cell.hashes[0][1]}")
        for cell in cells
    ]


def _differing(pairs: Sequence[Pair]) -> list[str]:
    """What differs between the two sides besides the figures, a line each of spec and software."""
    specs, software = [], []
    for pair in pairs:
        if pair.base.spec != pair.new.spec:
            specs += differences(pair.base.spec.to_dict(), pair.new.spec.to_dict())
        both = (run.environment for run in (pair.base, pair.new))
        software += differences(*({k: own.get(k) for k in SOFTWARE} for own in both))
    found = {"specs differ": specs, "software differs": software}
    return [f"{what}: {'; '.join(dict.fromkeys(x))}" for what, x in found.items() if x]

"""The records that a leaderboard is made of, by row."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kdbench.leaderboard.scores import Scores, scores_of
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec
from kdbench.runs.step_costs import StepCosts

Row = dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """Records and specs by hash, and the runs of each row: those that differ by the seed alone."""

    records: dict[str, Record]
    specs: dict[str, RunSpec]
    groups: dict[str, list[Record]]
    step_costs: StepCosts
    known: dict[tuple, Scores | None] = field(default_factory=dict)  # see `scores`

    @classmethod
    def of(cls, records: list[Record], step_costs: StepCosts) -> "Runs":
        by_hash = {record["hash"]: record for record in records}
        specs = {key: RunSpec.from_dict(record["spec"]) for key, record in by_hash.items()}
        groups: dict[str, list[Record]] = defaultdict(list)
        for key, record in by_hash.items():
            groups[row_key(specs[key])].append(record)
        return cls(by_hash, specs, groups, step_costs)

    def none(self, group: list[Record]) -> list[Record]:
        """The runs without distillation that a row's gain is measured against."""
        return self.groups.get(row_key(self.specs[group[0]["hash"]].baseline()), [])

    def scores(self, hashes: Sequence[str]) -> Scores | None:
        """What the runs of a row scored; many rows are against the same ones."""
        key = tuple(hashes)
        if key not in self.known:
            self.known[key] = scores_of([self.records[run] for run in hashes])
        return self.known[key]

    def teacher(self, row: Row) -> Record | None:
        """The run of a table's teacher: of its hash, and with its weights."""
        run, _, weights = (row["teacher"] or "").partition(" of ")[0].partition(" ")
        found = self.records.get(run)
        return found if found and found.get("weights_sha256", "").startswith(weights) else None

    def learned_from(self, group: list[Record]) -> list[Record | None] | None:
        """The trainings that runs learned from, see `costs.training`."""
        found = [self.records.get(r.get("teacher")) for r in group]
        absent = any(f is None and r.get("teacher") for f, r in zip(found, group, strict=True))
        return None if absent else found


def row_key(spec: RunSpec) -> str:
    """What runs of one row share: everything but the seed."""
    return repr(replace(spec, seed=0))

"""From records to leaderboard rows: one row a method, paired by seed with its baseline."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np

from kdbench.leaderboard.behaviour import behaviour
from kdbench.leaderboard.costs import costs, training
from kdbench.leaderboard.significance import gain_intervals, is_within_noise, judge
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec

Row = dict[str, Any]

# Recovering a share of a gap means nothing when there is hardly a gap, in points of mAP.
LEAST_GAP = 1.0

# What the rows of a table have in common: all that decides on accuracy but the method.
TABLE = (
    "dataset", "fingerprint", "profile", "device", "detector", "network", "precision", "teacher",
    "steps", "ratio",
)  # fmt: skip


def leaderboard(records: list[Record]) -> list[Row]:
    """Rows with plain, stable keys, by table (TABLE), best last.

    A row that learned from no trained teacher, as `none`, stands in the table of each teacher.

    A gain is the mean over seeds of the run's mAP less that of the run without distillation
    with the same seed and schedule; None where that run is absent. `recovered` is the gain as a
    share of what the teacher has over the baseline, None where that is little or within noise.
    `bev_gain_low`, `_high` and `_p` are the gain's interval (`bootstrap.py`), `bev_significant`
    and `bev_rank` what it amounts to in its table (`significance.py`). Costs are means over seeds
    (`costs.py`); what there is beyond mAP is told in `behaviour.py`.
    """
    runs = _Runs.of(records)
    groups: dict[str, list[Record]] = defaultdict(list)
    for key, record in runs.records.items():
        groups[_group_key(runs.specs[key])].append(record)
    rows = _in_tables([_row(runs, group) for group in groups.values()])
    for row in rows:
        row |= _recovered(runs, row)
    teachers = _teacher_rows(runs, rows)
    shown = {tuple(row["hashes"]) for row in teachers}
    # A teacher is a row in its students' tables, not in a table of its own.
    rows = [row for row in rows if tuple(row["hashes"]) not in shown] + teachers
    _tell_apart(rows)
    tables: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        tables[table_key(row)].append(row)
    for table in tables.values():
        judge(table)
    return sorted(rows, key=_order)


@dataclass(frozen=True)
class _Runs:
    """Records by hash, with their specs, and the hashes of their baselines."""

    records: dict[str, Record]
    specs: dict[str, RunSpec]
    baselines: dict[str, str]
    noise: dict[tuple, dict[str, bool]] = field(default_factory=dict)  # see `gap_is_noise`

    @classmethod
    def of(cls, records: list[Record]) -> "_Runs":
        specs = {record["hash"]: RunSpec.from_dict(record["spec"]) for record in records}
        known: dict[str, str] = {}  # many runs have the same baseline and teacher

        def hash_of(spec: RunSpec) -> str:
            text = repr(spec)
            if text not in known:
                known[text] = spec.hash
            return known[text]

        return cls(
            records={record["hash"]: record for record in records},
            specs=specs,
            baselines={key: hash_of(spec.baseline()) for key, spec in specs.items()},
        )

    def baseline(self, record: Record) -> Record | None:
        """The run without distillation that a run's gain is measured against."""
        return self.records.get(self.baselines[record["hash"]])

    def teacher(self, row: Row) -> Record | None:
        """The run of a table's teacher: of its hash, and with its weights."""
        run, _, weights = (row["teacher"] or "").partition(" ")
        found = self.records.get(run)
        return found if found and found.get("weights_sha256", "").startswith(weights) else None

    def learned_from(self, group: list[Record]) -> list[Record | None] | None:
        """The trainings that runs learned from, see `costs.training`."""
        found = [self.records.get(r.get("teacher")) for r in group]
        absent = any(f is None and r.get("teacher") for f, r in zip(found, group, strict=True))
        return None if absent else found

    def gap_is_noise(self, metric: str, teacher: Record, baselines: list[Record]) -> bool:
        """Whether the teacher is ahead of `none` by no more than noise, as far as is known."""
        key = teacher["hash"], *(b["hash"] for b in baselines)
        if key not in self.noise:  # many rows have the same
            self.noise[key] = is_within_noise([teacher] * len(baselines), baselines)
        return self.noise[key].get(metric, False)


def _group_key(spec: RunSpec) -> str:
    """What runs of one row share: everything but the seed."""
    return repr(replace(spec, seed=0))


def _row(runs: _Runs, group: list[Record]) -> Row:
    baselines = [runs.baseline(record) for record in group]
    row = _identity(runs.specs[group[0]["hash"]], group) | _accuracy(group)
    for metric in ("bev", "3d"):
        row |= _gain(metric, group, baselines)
    row |= gain_intervals(group, baselines) | behaviour(group, baselines)
    return row | costs(group) | training(group, baselines, runs.learned_from(group))


def _identity(spec: RunSpec, group: list[Record]) -> Row:
    return {
        "dataset": spec.dataset.name,
        "fingerprint": spec.dataset.fingerprint,
        "profile": spec.profile,
        "device": spec.device,
        "detector": spec.detector.name,
        "ratio": spec.detector.ratio,
        "method": spec.method.name,
        "options": spec.method.options | {"scale": spec.method.scale},
        "role": "student",
        "train": vars(spec.train),
        "steps": spec.train.steps,
        "precision": spec.train.precision,
        "network": tuple((name, repr(value)) for name, value in spec.detector.options.items()),
        "teacher": _teacher_of(spec),
        "settings": {f"dataset.{name}": value for name, value in spec.dataset.options.items()},
        "seeds": sorted(r["spec"]["seed"] for r in group),
        "hashes": [r["hash"] for r in group],
    }


def _teacher_of(spec: RunSpec) -> str | None:
    """What tells one trained teacher from another: the hash of its run, and its weights."""
    run = spec.teacher_run()
    return f"{run.hash} {spec.teacher.weights[:10]}".strip() if run else None


def _in_tables(rows: list[Row]) -> list[Row]:
    """The rows, those without a trained teacher once for each teacher of their cell."""
    teachers: dict[tuple, set[str]] = defaultdict(set)
    for row in rows:
        teachers[without_teacher(row)] |= {row["teacher"]} - {None}
    placed = []
    for row in rows:
        own = [row["teacher"]] if row["teacher"] else sorted(teachers[without_teacher(row)])
        placed += [row | {"teacher": teacher} for teacher in own or [None]]
    return placed


def _accuracy(group: list[Record]) -> Row:
    row: Row = {}
    for metric in ("bev", "3d"):
        values = [r["metrics"][f"{metric}_map"] for r in group]
        row[f"{metric}_map"] = fmean(values)
        row[f"{metric}_map_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    kitti = [r["metrics"]["kitti"] for r in group]
    for name in kitti[0]:
        for metric in ("bev", "3d"):
            row[f"{metric}_{name}"] = fmean(k[name][metric]["R40"][1] for k in kitti)
    return row


def _gain(metric: str, group, baselines) -> Row:
    if any(b is None for b in baselines):
        return {f"{metric}_gain": None}
    own, base = (fmean(r["metrics"][f"{metric}_map"] for r in x) for x in (group, baselines))
    return {f"{metric}_gain": own - base}


def _recovered(runs: _Runs, row: Row) -> Row:
    """Which share of its table's teacher's lead a row gains."""
    teacher, found = runs.teacher(row), {}
    baselines = [runs.baseline(runs.records[run]) for run in row["hashes"]]
    for metric in ("bev", "3d"):
        gain, key = row[f"{metric}_gain"], f"{metric}_map"
        found[f"{metric}_recovered"] = None
        if teacher is None or gain is None:
            continue
        gap = teacher["metrics"][key] - (row[key] - gain)
        if gap >= LEAST_GAP and not runs.gap_is_noise(metric, teacher, baselines):
            found[f"{metric}_recovered"] = gain / gap
    return found


def _teacher_rows(runs: _Runs, rows: list[Row]) -> list[Row]:
    """A teacher's row in each table whose students learned from it."""
    added = {}
    for row in rows:
        teacher = runs.teacher(row)
        if teacher is not None and table_key(row) not in added:
            added[table_key(row)] = _as_teacher(_row(runs, [teacher]), row)
    return list(added.values())


def _as_teacher(row: Row, student: Row) -> Row:
    """A run's row as it stands in the table of a student."""
    against = ("_recovered", "_against_none", "_with_teacher")  # of itself
    gains = [key for key in row if "_gain" in key or key.endswith(against)]
    place = {key: student[key] for key in TABLE}
    none = dict.fromkeys([*gains, "bev_recovered", "3d_recovered"])
    return row | none | place | {"role": "teacher", "method": "teacher"}


def table_key(row: Row) -> tuple:
    """Rows with the same key may stand in one table."""
    return tuple(row[key] for key in TABLE)


def without_teacher(row: Row) -> tuple:
    """The key of a table, whoever taught in it."""
    return tuple(row[key] for key in TABLE if key != "teacher")


def _tell_apart(rows: list[Row]) -> None:
    """Sets `label`: the method, its variant, and what else differs between rows of one name."""
    same: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        variant = row["options"].get("variant")
        row["label"] = row["method"] if variant is None else f"{row['method']} ({variant})"
        same[(*table_key(row), row["label"])].append(row)
    for group in same.values():
        settings = [row["options"] | row["train"] | row["settings"] for row in group]
        names = dict.fromkeys(name for own in settings for name in own)
        differing = [k for k in names if len({repr(s.get(k)) for s in settings}) > 1]
        for row, values in zip(group, settings, strict=True):
            row["label"] += "".join(f" {k}={values.get(k)}" for k in differing)


def _order(row: Row) -> tuple:
    """Table by table: the teacher, `none`, and methods from the best to the worst."""
    first = {"teacher": 0, "none": 1}.get(row["method"], 2)
    place = [str(row[key]) for key in TABLE if key not in ("steps", "ratio")]
    return (*place, row["ratio"], row["steps"], first, -row["bev_map"])

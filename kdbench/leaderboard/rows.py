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


def leaderboard(records: list[Record]) -> list[Row]:
    """Rows with plain, stable keys, by table (data set, profile, detector, ratio), best last.

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
    rows = [_row(runs, group) for group in groups.values()]
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
    """Records by hash, with their specs, and the hashes of their baselines and teachers."""

    records: dict[str, Record]
    specs: dict[str, RunSpec]
    baselines: dict[str, str]
    teachers: dict[str, str]
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
            teachers={key: hash_of(spec.teacher()) for key, spec in specs.items()},
        )

    def baseline(self, record: Record) -> Record | None:
        """The run without distillation that a run's gain is measured against."""
        return self.records.get(self.baselines[record["hash"]])

    def teacher(self, record: Record) -> Record | None:
        """The run of the teacher."""
        return self.records.get(self.teachers[record["hash"]])

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
        row |= _gain(metric, group, baselines, runs)
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
        "settings": _named("detector", spec.detector.options)
        | _named("dataset", spec.dataset.options),
        "seeds": sorted(r["spec"]["seed"] for r in group),
        "hashes": [r["hash"] for r in group],
    }


def _named(part: str, options: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in options.items()}


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


def _gain(metric: str, group, baselines, runs: _Runs) -> Row:
    if any(b is None for b in baselines):
        return {f"{metric}_gain": None, f"{metric}_recovered": None}
    key = f"{metric}_map"
    base = fmean(b["metrics"][key] for b in baselines)
    gain = fmean(r["metrics"][key] for r in group) - base
    teacher = runs.teacher(group[0])
    gap = teacher["metrics"][key] - base if teacher else 0.0
    clear = gap >= LEAST_GAP and not runs.gap_is_noise(metric, teacher, baselines)
    recovered = gain / gap if clear else None
    return {f"{metric}_gain": gain, f"{metric}_recovered": recovered}


def _teacher_rows(runs: _Runs, rows: list[Row]) -> list[Row]:
    """A teacher's row in the table of each ratio whose students learned from it."""
    added = {}
    for row in rows:
        teacher = runs.teacher(runs.records[row["hashes"][0]])
        if teacher is None or row["ratio"] == 1:
            continue
        key = (*table_key(row), teacher["hash"])
        if key not in added:
            added[key] = _as_teacher(_row(runs, [teacher]), row["ratio"])
    return list(added.values())


def _as_teacher(row: Row, ratio: float) -> Row:
    """A run's row as it stands among the students of a ratio."""
    against = ("_recovered", "_against_none", "_with_teacher")  # of itself
    gains = [key for key in row if "_gain" in key or key.endswith(against)]
    return row | dict.fromkeys(gains) | {"ratio": ratio, "role": "teacher", "method": "teacher"}


def table_key(row: Row) -> tuple:
    """Rows with the same key may stand in one table."""
    return tuple(
        row[k] for k in ("dataset", "fingerprint", "profile", "device", "detector", "ratio")
    )


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
    return (*map(str, table_key(row)[:-1]), row["ratio"], first, -row["bev_map"])

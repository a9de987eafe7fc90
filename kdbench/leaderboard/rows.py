"""From records to leaderboard rows: one row a method, beside the runs without distillation."""

from collections import defaultdict
from statistics import fmean
from typing import Any

import numpy as np

from kdbench.evaluation.filled_ap import METRICS, ap_of
from kdbench.leaderboard.behaviour import behaviour
from kdbench.leaderboard.claims import set_claims
from kdbench.leaderboard.costs import costs, mean, training
from kdbench.leaderboard.real import set_real
from kdbench.leaderboard.runs import Runs
from kdbench.leaderboard.significance import judge
from kdbench.leaderboard.traces import traces
from kdbench.leaderboard.verdict import set_verdict
from kdbench.leaderboard.worth import set_worth
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec
from kdbench.runs.step_costs import StepCosts, step_key

Row = dict[str, Any]

# What the rows of a table have in common: all that decides on accuracy but the method.
TABLE = (
    "dataset", "fingerprint", "profile", "device", "detector", "network", "precision", "teacher",
    "steps", "ratio",
)  # fmt: skip


# At the end of a row's name; the second where the maintainers do not vouch for one of its runs.
PUBLISHED, UNVERIFIED = " [published]", " [not verified]"


def leaderboard(records: list[Record], step_costs: StepCosts | None = None) -> list[Row]:
    """Rows with plain, stable keys, by table (TABLE), best last.

    A row that learned from no trained teacher, as `none`, stands in the table of each teacher.

    A gain is the mean of a row's mAP over its seeds less that of all runs without distillation of
    the same schedule (`none`: their hashes); None without such a run. What it amounts to in its
    table is `significance.judge`'s, what it is worth in plain training `worth.py`'s. Costs are
    means over seeds (`costs.py`), that of a step was timed apart (`step_costs`); what there is
    beyond mAP is told in `behaviour.py`.
    """
    runs = Runs.of(records, step_costs or {})
    rows = _in_tables([_row(runs, group) for group in runs.groups.values()])
    teachers = _teacher_rows(runs, rows)
    shown = {tuple(row["hashes"]) for row in teachers}
    # A teacher is a row in its students' tables, not in a table of its own.
    rows = [row for row in rows if tuple(row["hashes"]) not in shown] + teachers
    _tell_apart(rows)
    tables: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        tables[table_key(row)].append(row)
    for table in tables.values():
        _mark_elsewhere(table)
        judge(table, runs.scores)
        runs.known.clear()  # of 10,000 records they take 100 MB
    set_worth(rows, ladder_of)
    plain = defaultdict(list)
    for row in rows:
        if row["method"] == "none":
            plain[ladder_of(row)].append(row)
    for table in tables.values():
        set_verdict(table, _ladder_in(table, plain), runs.scores)
        set_claims(table, runs.scores)
        set_real(table, runs.records)
    return sorted(rows, key=_order)


def with_own(rows: list[Row]) -> list[Row]:
    """The rows of the tables and ladders in which there is a run that is not published alone."""
    own = {key(row) for row in rows if not row["published"] for key in (table_key, ladder_of)}
    return [row for row in rows if table_key(row) in own or _is_rung(row, own)]


def _is_rung(row: Row, own: set[tuple]) -> bool:
    return row["method"] == "none" and ladder_of(row) in own


def _ladder_in(table: list[Row], plain: dict[tuple, list[Row]]) -> list[Row]:
    """The rows of `none` that a table's own row of it is one of."""
    own = next((row for row in table if row["method"] == "none"), None)
    return plain[ladder_of(own)] if own else []


def _row(runs: Runs, group: list[Record]) -> Row:
    none = runs.none(group)
    row = _identity(runs.specs[group[0]["hash"]], group) | {"none": [r["hash"] for r in none]}
    row |= _accuracy(group)
    for metric in METRICS:
        row |= _gain(metric, group, none)
    row |= behaviour(group, none) | costs(group) | traces(group)
    row |= _step_cost(runs.specs[group[0]["hash"]], runs.step_costs)
    return row | training(group, none, runs.learned_from(group))


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
        "published": all(r.get("published", False) for r in group),
        "unverified": any(r.get("published") and not r.get("verified") for r in group),
        "machine": _machine(group),
        "train": vars(spec.train),
        "steps": spec.train.steps,
        "precision": spec.train.precision,
        "network": tuple((name, repr(value)) for name, value in spec.detector.options.items()),
        "teacher": _teacher_of(spec),
        "settings": {f"dataset.{name}": value for name, value in spec.dataset.options.items()},
        "seeds": sorted(r["spec"]["seed"] for r in group),
        "hashes": [r["hash"] for r in group],
    }


def _machine(group: list[Record]) -> str | None:
    """Where latencies were measured; None where runs of a row ran on several machines."""
    keys = ("device", "cpu", "threads")
    found = {tuple((r.get("environment") or {}).get(key) for key in keys) for r in group}
    return "; ".join(map(str, *found)) if len(found) == 1 else None


def _teacher_of(spec: RunSpec) -> str | None:
    """What tells one trained teacher from another: the hash of its run, and its weights.

    After them stands the detector of one that is of another than its students.
    """
    run = spec.teacher_run()
    if run is None:
        return None
    other = f" of {spec.other_teacher}" if spec.other_teacher else ""
    return f"{run.hash} {spec.teacher.weights[:10]}".strip() + other


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
    for metric in METRICS:
        values = [r["metrics"][f"{metric}_map"] for r in group]
        row[f"{metric}_map"] = fmean(values)
        row[f"{metric}_map_seeds"] = values
        row[f"{metric}_map_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    each = [ap_of(r["metrics"]) for r in group]
    for metric in METRICS:
        for name in each[0][metric]:
            row[f"{metric}_{name}"] = mean(ap[metric][name] for ap in each)
    return row


def _step_cost(spec: RunSpec, timed: StepCosts) -> Row:
    """`cost`: a training step against a plain one, and on which machine it was timed."""
    if spec == spec.baseline():
        return {"cost": 1.0, "cost_machine": None}
    found = timed.get(step_key(spec))
    machine = f"{found['cpu']}; {found['threads']} threads" if found else None
    return {"cost": found["ratio"] if found else None, "cost_machine": machine}


def _gain(metric: str, group, baselines) -> Row:
    if not baselines:
        return {f"{metric}_gain": None}
    own, base = (fmean(r["metrics"][f"{metric}_map"] for r in x) for x in (group, baselines))
    return {f"{metric}_gain": own - base}


def _teacher_rows(runs: Runs, rows: list[Row]) -> list[Row]:
    """A teacher's row in each table whose students learned from it."""
    added = {}
    for row in rows:
        teacher = runs.teacher(row)
        if teacher is not None and table_key(row) not in added:
            added[table_key(row)] = _as_teacher(_row(runs, [teacher]), row)
    return list(added.values())


def _as_teacher(row: Row, student: Row) -> Row:
    """A run's row as it stands in the table of a student."""
    against = ("_against_none", "_with_teacher")  # of itself
    absent = dict.fromkeys(key for key in row if "_gain" in key or key.endswith(against))
    absent |= {"cost": None, "cost_machine": None}
    place = {key: student[key] for key in TABLE}
    return row | absent | place | {"role": "teacher", "method": "teacher"}


def ladder_of(row: Row) -> tuple:
    """What a row has in common with the runs of `none` that its worth is read off."""
    place = [row[key] for key in TABLE if key not in ("teacher", "steps")]
    train = {key: value for key, value in row["train"].items() if key != "steps"}
    return (*place, repr(train), repr(row["settings"]))


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
        row["label"] += PUBLISHED if row["published"] and row["role"] == "student" else ""
        row["label"] += UNVERIFIED if row["unverified"] else ""
        same[(*table_key(row), row["label"])].append(row)
    for group in same.values():
        settings = [row["options"] | row["train"] | row["settings"] for row in group]
        names = dict.fromkeys(name for own in settings for name in own)
        differing = [k for k in names if len({repr(s.get(k)) for s in settings}) > 1]
        for row, values in zip(group, settings, strict=True):
            row["label"] += "".join(f" {k}={values.get(k)}" for k in differing)


def _mark_elsewhere(table: list[Row]) -> None:
    """Sets `elsewhere`: published, and measured on another machine than the table's own rows."""
    own = {row["machine"] for row in table if not row["published"]}
    for row in table:
        row["elsewhere"] = row["published"] and row["machine"] not in own


def _order(row: Row) -> tuple:
    """Table by table: the teacher, `none`, and methods from the best to the worst."""
    first = {"teacher": 0, "none": 1}.get(row["method"], 2)
    place = [str(row[key]) for key in TABLE if key not in ("steps", "ratio")]
    return (*place, row["ratio"], row["steps"], first, -row["bev_map"])

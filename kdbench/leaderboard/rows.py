"""From records to leaderboard rows: one row a method, paired by seed with its baseline."""

from collections import defaultdict
from statistics import fmean, stdev
from typing import Any

from kdbench.leaderboard.significance import gain_intervals, judge
from kdbench.records import Record
from kdbench.spec import RunSpec

Row = dict[str, Any]

# Recovering a share of a gap means nothing when there is hardly a gap, in points of mAP.
LEAST_GAP = 1.0


def leaderboard(records: list[Record]) -> list[Row]:
    """Rows with plain, stable keys, by table (data set, profile, detector, ratio), best last.

    A gain is the mean over seeds of the run's mAP less that of the run without distillation
    with the same seed and schedule; None where that run is absent. `recovered` is the gain as a
    share of what the teacher has over the baseline. `bev_gain_low`, `_high` and `_p` are its
    interval (`bootstrap.py`), `bev_significant` and `bev_rank` what it amounts to in its table
    (`significance.py`). Costs are means over seeds.
    """
    by_hash = {record["hash"]: record for record in records}
    specs = {record["hash"]: RunSpec.from_dict(record["spec"]) for record in records}
    groups: dict[tuple, list[Record]] = defaultdict(list)
    for key, record in by_hash.items():
        groups[_group_key(specs[key])].append(record)
    rows = [_row(specs, by_hash, group) for group in groups.values()]
    teachers = _teacher_rows(specs, by_hash, rows)
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


def _group_key(spec: RunSpec) -> tuple:
    """What runs of one row share: everything but the seed."""
    values = spec.to_dict() | {"seed": None}
    return (repr(values),)


def _row(specs: dict[str, RunSpec], by_hash: dict[str, Record], group: list[Record]) -> Row:
    spec = specs[group[0]["hash"]]
    baselines = [by_hash.get(specs[r["hash"]].baseline().hash) for r in group]
    teacher = by_hash.get(spec.teacher().hash)
    row = _identity(spec, group) | _accuracy(group)
    for metric in ("bev", "3d"):
        row |= _gain(metric, group, baselines, teacher)
    row |= gain_intervals(group, baselines)
    return row | _costs(group) | _training(group, baselines)


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
        "seeds": sorted(r["spec"]["seed"] for r in group),
        "hashes": [r["hash"] for r in group],
    }


def _accuracy(group: list[Record]) -> Row:
    row: Row = {}
    for metric in ("bev", "3d"):
        values = [r["metrics"][f"{metric}_map"] for r in group]
        row[f"{metric}_map"] = fmean(values)
        row[f"{metric}_map_std"] = stdev(values) if len(values) > 1 else None
    kitti = [r["metrics"]["kitti"] for r in group]
    for name in kitti[0]:
        for metric in ("bev", "3d"):
            row[f"{metric}_{name}"] = fmean(k[name][metric]["R40"][1] for k in kitti)
    return row


def _gain(metric: str, group, baselines, teacher) -> Row:
    if any(b is None for b in baselines):
        return {f"{metric}_gain": None, f"{metric}_recovered": None}
    key = f"{metric}_map"
    base = fmean(b["metrics"][key] for b in baselines)
    gain = fmean(r["metrics"][key] for r in group) - base
    gap = teacher["metrics"][key] - base if teacher else 0.0
    recovered = gain / gap if gap >= LEAST_GAP else None
    return {f"{metric}_gain": gain, f"{metric}_recovered": recovered}


def _costs(group: list[Record]) -> Row:
    cost = group[0]["cost"]
    return {
        "parameters": cost["parameters"],
        "method_parameters": cost["method_parameters"],
        "macs": cost["macs"],
        "ratio_parameters": cost["ratio"]["parameters"],
        "ratio_macs": cost["ratio"]["macs"],
        "latency_p50_ms": fmean(r["latency"]["p50"] for r in group),
        "latency_p90_ms": fmean(r["latency"]["p90"] for r in group),
        # Cores that other programs used meanwhile, in the worst of the runs.
        "latency_contention": max((r["latency"]["contention"] or 0.0) for r in group),
    }


def _training(group, baselines) -> Row:
    step = _mean(r["training"]["seconds_per_step"] for r in group)
    plain = _mean(b["training"]["seconds_per_step"] for b in baselines if b)
    return {
        "seconds_per_step": step,
        "step_against_none": step / plain if step and plain else None,
        "training_seconds": fmean(r["training"]["seconds"] for r in group),
        "peak_memory_bytes": max(r["training"]["peak_memory_bytes"] for r in group),
    }


def _mean(values) -> float | None:
    values = [v for v in values if v is not None]
    return fmean(values) if values else None


def _teacher_rows(specs, by_hash, rows: list[Row]) -> list[Row]:
    """A teacher's row in the table of each ratio whose students learned from it."""
    added = {}
    for row in rows:
        spec = specs[row["hashes"][0]]
        teacher = by_hash.get(spec.teacher().hash)
        key = (*table_key(row), spec.teacher().hash)
        if teacher is None or spec.detector.ratio == 1 or key in added:
            continue
        own = _row(specs, by_hash, [teacher])
        added[key] = (
            own
            | {"ratio": row["ratio"], "role": "teacher", "method": "teacher"}
            | {key: None for key in own if "_gain" in key or key.endswith("_recovered")}
        )
    return list(added.values())


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
        settings = [row["options"] | row["train"] for row in group]
        differing = [k for k in settings[0] if len({repr(s.get(k)) for s in settings}) > 1]
        for row, values in zip(group, settings, strict=True):
            row["label"] += "".join(f" {k}={values.get(k)}" for k in differing)


def _order(row: Row) -> tuple:
    first = {"teacher": 0, "none": 1}.get(row["method"], 2)
    return (*map(str, table_key(row)[:-1]), row["ratio"], first, row["bev_map"])

"""Runs that differ by the seed alone, beside the runs without distillation of their schedule."""

from collections import defaultdict
from dataclasses import replace

from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec

Cell = tuple[list[Record], list[Record]]  # runs of one method, and those of `none`


def cells_by_table(records: list[Record]) -> dict[str, list[Cell]]:
    """The cells of each table, by its title; runs without `none` or resampled AP are left out.

    A table holds what may be compared: one data set, profile, device, detector, ratio, number of
    steps and teacher.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    specs: dict[str, RunSpec] = {}
    for record in sorted(records, key=lambda r: r["spec"]["seed"]):
        if "resamples" in record["metrics"]:
            spec = replace(RunSpec.from_dict(record["spec"]), seed=0)
            specs[spec.hash] = spec
            groups[spec.hash].append(record)
    tables: dict[str, list[Cell]] = defaultdict(list)
    for key, spec in specs.items():
        none = spec.baseline().hash
        if none != key and none in groups:
            tables[_title(spec)].append((groups[key], groups[none]))
    return dict(tables)


def _title(spec: RunSpec) -> str:
    dataset = f"{spec.dataset.name} {spec.dataset.fingerprint}"
    title = f"{spec.cell} on {dataset}, {spec.profile}, {spec.train.steps} steps, {spec.device}"
    if spec.teacher and spec.teacher.weights:
        title += f", teacher {spec.teacher.weights[:10]}"
    if spec.other_teacher:
        title += f" of {spec.other_teacher}"
    return title

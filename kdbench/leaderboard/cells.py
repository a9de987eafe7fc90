"""Runs that differ by the seed alone, each beside its baseline."""

from collections import defaultdict
from dataclasses import replace

from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec

Cell = tuple[list[Record], list[Record]]  # runs of one method, and their baselines, by seed


def paired_cells(records: list[Record]) -> dict[str, list[Cell]]:
    """The cells of each table, by its title; runs without a baseline or resampled AP are left out.

    A table holds what may be compared: one data set, profile, device, detector, ratio, number of
    steps and teacher.
    """
    usable = {r["hash"]: r for r in records if "resamples" in r["metrics"]}
    tables: dict[str, dict[str, Cell]] = defaultdict(dict)
    for record in sorted(usable.values(), key=lambda r: r["spec"]["seed"]):
        spec = RunSpec.from_dict(record["spec"])
        baseline = usable.get(spec.baseline().hash)
        if baseline is None or baseline is record:
            continue
        dataset = f"{spec.dataset.name} {spec.dataset.fingerprint}"
        title = f"{spec.cell} on {dataset}, {spec.profile}, {spec.train.steps} steps, {spec.device}"
        if spec.teacher and spec.teacher.weights:
            title += f", teacher {spec.teacher.weights[:10]}"
        runs, baselines = tables[title].setdefault(replace(spec, seed=0).hash, ([], []))
        runs.append(record)
        baselines.append(baseline)
    return {title: list(cells.values()) for title, cells in tables.items()}

"""Records of runs, read by `kdbench report`."""

import contextlib
import json
import math
from pathlib import Path
from statistics import fmean

from kdbench.runs import published
from kdbench.runs.records import read_records, write_record
from kdbench.runs.spec import RunSpec
from tests.fuzz.changes import change_tree, changed_text, pick


class Records:
    said, errors = None, 1

    def make(self, base: Path) -> None:
        records = [r for r in read_records(published.FOLDER) if r["spec"]["detector"]["ratio"] > 1]
        for record in [*records[:2], *records[-2:]]:
            record["latency"]["samples"] = record["latency"].get("samples", [])[:9]
            write_record(base / "results", record)

    def change(self, folder: Path, rng) -> None:
        path = pick(sorted((folder / "results").glob("*/*/*/*.json")), rng)
        if rng.random() < 0.1:
            path.write_bytes(changed_text(path.read_text(), rng))
            return
        record = json.loads(path.read_text())
        part = record if rng.random() < 0.2 else record[pick(sorted(record), rng)]
        change_tree(part if isinstance(part, dict) else record, rng, int(rng.integers(1, 3)))
        with contextlib.suppress(TypeError, AttributeError, KeyError, ValueError):
            record["hash"] = RunSpec.from_dict(record["spec"]).hash
        path.write_text(json.dumps(record))

    def arguments(self, folder: Path) -> list:
        given = ["--results", folder / "results", "--out", folder / "out", "--no-pictures"]
        return ["report", *given, "--json", "-"]

    def misread(self, folder: Path, out: str) -> str | None:
        files = (folder / "results").glob("*/*/*/*.json")
        plain = {}
        for path in files:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                record = json.loads(path.read_text())
                plain[record["hash"]] = record
        for row in json.loads(out):
            runs = [plain[run] for run in row["hashes"]]
            for key in ("bev_map", "3d_map"):
                mean = fmean(run["metrics"][key] for run in runs)
                if row[key] != mean or not math.isfinite(mean):
                    return f"{row['label']}: {key} {row[key]} for {mean}"
            if not math.isclose(row["latency_p50_ms"], fmean(r["latency"]["p50"] for r in runs)):
                return f"{row['label']}: latency {row['latency_p50_ms']}"
        return None

"""Factors that `kdbench tune` found, read by it and by every run's settings."""

import json
from pathlib import Path

from kdbench.runs import tuned
from tests.fuzz.changes import change_tree, changed_text


class Tuned:
    said, errors = None, 1

    def make(self, base: Path) -> None:
        text = (tuned.FOLDER / "pointpillars/kd.json").read_text()
        (base / "tuned/pointpillars").mkdir(parents=True)
        (base / "tuned/pointpillars/kd.json").write_text(text)

    def change(self, folder: Path, rng) -> None:
        tuned.FOLDER = folder / "tuned"
        path = folder / "tuned/pointpillars/kd.json"
        if rng.random() < 0.3:
            path.write_bytes(changed_text(path.read_text(), rng))
            return
        found = json.loads(path.read_text())
        change_tree(found, rng, int(rng.integers(1, 3)))
        path.write_text(json.dumps(found))

    def arguments(self, folder: Path) -> list:
        return ["tune", "kd", "--defaults", "--results", folder / "results", "--json", "-"]

    def misread(self, folder: Path, out: str) -> str | None:
        plain = json.loads((folder / "tuned/pointpillars/kd.json").read_text())
        (row,) = json.loads(out)
        scale = tuned.tuned_scale("pointpillars", "kd")
        if scale != plain["scale"] or any(row[key] != plain[key] for key in plain):
            return f"{row} and scale {scale} for {plain}"
        return None if 0 <= scale < float("inf") else f"scale {scale}"

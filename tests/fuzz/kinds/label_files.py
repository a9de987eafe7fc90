"""Label and result files, read by `kdbench evaluate`."""

import json
from pathlib import Path

from kdbench.geometry.kitti_labels import class_name, format_rows, read
from tests.conftest import write_tree
from tests.fuzz.changes import changed_text
from tests.fuzz.kinds.kitti_files import NUMBER


class Labels:
    file, scored, said, errors = "kitti/training/label_2/000002.txt", False, None, 1

    def make(self, base: Path) -> None:
        root = write_tree(base / "kitti")
        (base / "results").mkdir()
        for path in (root / "training/label_2").iterdir():
            (base / "results" / path.name).write_text(format_rows(read(path), scored=True))

    def change(self, folder: Path, rng) -> None:
        path = folder / self.file
        path.write_bytes(changed_text(path.read_text(), rng))

    def arguments(self, folder: Path) -> list:
        labels = folder / "kitti/training/label_2"
        given = ["--labels", labels, "--predictions", folder / "results"]
        return ["evaluate", *given, "--json", folder / "ap.json"]

    def misread(self, folder: Path, out: str) -> str | None:
        for metrics in json.loads((folder / "ap.json").read_text()).values():
            for found in filter(None, metrics.values()):
                if not all(0 <= ap <= 100 for ap in found["R11"] + found["R40"]):
                    return f"an AP of {found}"
        return misread_rows(folder / self.file, self.scored)


class Results(Labels):
    file, scored = "results/000002.txt", True


def misread_rows(path: Path, scored: bool) -> str | None:
    """Where the objects of a file are not those that stand in its lines."""
    text = path.read_bytes().decode("utf-8").replace("\ufeff", "")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    found = read(path, scored)
    if len(rows) != len(found):
        return f"{len(found)} objects of {len(rows)} lines"
    for i, (name, *numbers) in enumerate(rows):
        if len(numbers) not in (14 + scored, 15) or not all(map(NUMBER.fullmatch, numbers)):
            return f"{rows[i]} is no row"
        plain = [float(x) for x in numbers]
        read_as = (
            found.truncated[i], float(plain[1]), found.alpha[i], *found.bbox[i], *found.hwl[i],
            *found.location[i], found.rotation_y[i], *([found.score[i]] if scored else []),
        )  # fmt: skip
        if list(read_as) != plain[: 14 + scored] or found.names[i] != class_name(name):
            return f"{read_as} for {rows[i]}"
        if found.occluded[i] != int(plain[1]):
            return f"occluded {found.occluded[i]} for {numbers[1]}"
    return None

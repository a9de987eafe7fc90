"""The KITTI label and result file format: one text row an object.

This file, the data sets that read or write the format and the evaluator are the only places
where boxes stand in the camera frame (x right, y down, z forward; location is the centre of
the box's bottom face). Everywhere else boxes are in the LiDAR frame (`geometry/boxes.py`).
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kdbench.errors import DataError
from kdbench.geometry.plain_rows import plain_rows
from kdbench.storage.text import number, read_text

COLUMNS = 15  # a label row; a result row has one more, the score
NAMES = (
    "Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare",
)  # fmt: skip


@dataclass(frozen=True)
class KittiObjects:
    """The objects of one frame, in file order, as parallel arrays of length n."""

    names: np.ndarray  # (n,) str: "Car", "Pedestrian", ..., "DontCare"
    truncated: np.ndarray  # (n,) float64, 0..1, or -1 where unknown
    occluded: np.ndarray  # (n,) int64, 0..3, or -1 where unknown
    alpha: np.ndarray  # (n,) float64, observation angle in radians, -10 where unknown
    bbox: np.ndarray  # (n, 4) float64, image box: left, top, right, bottom in pixels
    hwl: np.ndarray  # (n, 3) float64, height, width, length in metres
    location: np.ndarray  # (n, 3) float64, camera frame, centre of the bottom face
    rotation_y: np.ndarray  # (n,) float64, radians around the camera's y axis
    score: np.ndarray  # (n,) float64; 1 for ground truth

    def __len__(self) -> int:
        return len(self.names)

    def select(self, index) -> "KittiObjects":
        """The objects that `index` (a mask or integers) picks."""
        return KittiObjects(*(getattr(self, f.name)[index] for f in fields(self)))


def from_table(names, table: np.ndarray) -> KittiObjects:
    """Objects from names (n,) and a numeric table (n, 14 or 15) in the file's column order."""
    table = np.asarray(table, dtype=np.float64) if len(names) else np.zeros((0, COLUMNS))
    score = table[:, 14] if table.shape[1] > 14 else np.ones(len(names))
    return KittiObjects(
        names=np.asarray(names, dtype=str),
        truncated=table[:, 0],
        occluded=table[:, 1].astype(np.int64),
        alpha=table[:, 2],
        bbox=table[:, 3:7],
        hwl=table[:, 7:10],
        location=table[:, 10:13],
        rotation_y=table[:, 13],
        score=score,
    )


def empty() -> KittiObjects:
    """No object."""
    return from_table([], np.zeros((0, 15)))


def parse(text: str, path: str = "<text>", scored: bool = False) -> KittiObjects:
    """Objects of one label text, or of one result text when `scored`.

    An empty text is valid and means no object. KITTI's class names may be in any spelling, such as
    `car` or `dont_care`; others stay as they are. Raises DataError that names `path` and the line
    when a row has the wrong number of columns or a column is no number, or none that can be meant.
    """
    wanted = COLUMNS + 1 if scored else COLUMNS
    found = plain_rows(text)
    if found is None or found[1].shape[1] not in (wanted - 1, COLUMNS):
        found = _careful_rows(text, wanted, path)
    names, table = found
    spelled = {name: class_name(name) for name in set(names)}
    return from_table([spelled[name] for name in names], table[:, : wanted - 1])


def class_name(written: str) -> str:
    """KITTI's own spelling of a class name; a name that is not KITTI's as it is."""
    return _SPELLINGS.get(letters(written), written)


def letters(name: str) -> str:
    """What tells one class name from another: its letters and digits, in lower case."""
    return "".join(filter(str.isalnum, name)).lower()


_SPELLINGS = {letters(name): name for name in NAMES}


def _careful_rows(text: str, wanted: int, path: str) -> tuple[list[str], np.ndarray]:
    """Names and numbers of the filled rows, cut to `wanted` columns; names the first bad line."""
    names, table = [], []
    for i, line in enumerate(text.splitlines(), start=1):
        if not (row := line.split()):
            continue
        if len(row) not in (wanted, COLUMNS + 1):
            raise DataError(f"{path}, line {i}: {len(row)} columns, expected {wanted}")
        names.append(row[0])
        table.append(_numbers(row[1:], path, i)[: wanted - 1])
    return names, np.array(table).reshape(-1, wanted - 1)


def _numbers(columns: list[str], path: str, line: int) -> list[float]:
    try:
        return [number(column) for column in columns]
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}") from None


def read(path: Path | str, scored: bool = False) -> KittiObjects:
    """Objects of one label file (or, when `scored`, of one result file)."""
    text = read_text(path, "result file" if scored else "label file")
    return parse(text, str(path), scored)


def format_rows(objects: KittiObjects, scored: bool = False) -> str:
    """The file text of `objects`; with a final score column when `scored`."""
    lines = []
    for i in range(len(objects)):
        numbers = (
            *objects.bbox[i], *objects.hwl[i], *objects.location[i], objects.rotation_y[i],
        )  # fmt: skip
        line = f"{objects.names[i]} {objects.truncated[i]:.2f} {objects.occluded[i]:d} "
        line += f"{objects.alpha[i]:.4f} " + " ".join(f"{value:.4f}" for value in numbers)
        lines.append(line + (f" {objects.score[i]:.6f}" if scored else ""))
    return "".join(line + "\n" for line in lines)

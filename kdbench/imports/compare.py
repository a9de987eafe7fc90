"""How far a network's arrays are from what its project computed."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.geometry.boxes import wrap_angle

LIMIT = 1e-3  # greatest error over an array's standard deviation
BOX_LIMIT = 2e-4  # metres or radians, of any column of boxes
BOXES = ("boxes", "top_boxes", "decoded_boxes", "decoded_anchors", "point_boxes", "roi_boxes")
# Arrays that say where others were taken: nothing to compare.
PLACES = ("top_index", "top_cell", "rois", "roi_labels")


@dataclass(frozen=True)
class View:
    """An array of a network in its project's own layout."""

    values: np.ndarray
    rows: int | None = None  # axis of a map's rows, its columns next; None: it is no map


@dataclass(frozen=True)
class Row:
    """The comparison of one array."""

    case: str
    array: str
    error: list[float]  # of boxes by column; else the one greatest error
    unit: str  # "m, rad", "std", or "differ": how many whole numbers are others
    ok: bool

    def plain(self) -> dict[str, Any]:
        """The row as JSON has it: no infinite numbers."""
        return vars(self) | {"error": [e if math.isfinite(e) else None for e in self.error]}


def is_place(name: str) -> bool:
    """Whether an array of a case only says where others were taken."""
    return name in PLACES or name.endswith(("_grid", "_rows"))


def sampled(name: str, view: View, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The part of an array that a case holds: rows, or cells of a grid (row, column, step)."""
    head = {"cls", "box", "dir", "hm", "center", "center_z", "dim", "rot"}
    stem = name.split("_")[0] if name.startswith("decoded_") else name
    if view.rows is None:
        rows = {
            "voxel_features": "voxel_rows",
            "voxel_features_unpadded": "unpadded_rows",
            "point_features": "point_rows",
            "point_codes": "point_rows",
            "point_boxes": "point_rows",
        }.get(name)
        return view.values[arrays[rows]] if rows in arrays else view.values
    grid = arrays.get(f"{'head' if name in head else stem}_grid", (0, 0, 1))
    row, column, step = (int(x) for x in grid)
    where = (slice(None),) * view.rows + (slice(row, None, step), slice(column, None, step))
    return view.values[where]


def compare(case: str, name: str, expected: np.ndarray, found: np.ndarray) -> Row:
    """The greatest error of an array; arrays of other shapes are infinitely far apart."""
    if expected.shape != found.shape:
        return Row(case, name, [float("inf")], "std", False)
    if name in BOXES:
        error = _box_errors(expected, found)
        return Row(case, name, error, "m, rad", all(e <= BOX_LIMIT for e in error))
    if np.issubdtype(expected.dtype, np.integer):
        differ = float((expected != found).sum())
        return Row(case, name, [differ], "differ", differ == 0)
    scale = float(expected.astype(np.float64).std()) or 1.0
    error = _greatest(np.abs(expected.astype(np.float64) - found)) / scale
    return Row(case, name, [error], "std", error <= LIMIT)


def _box_errors(expected: np.ndarray, found: np.ndarray) -> list[float]:
    """The greatest error of each column of boxes (..., 7); headings modulo a full turn."""
    error = found.astype(np.float64) - expected
    error[..., 6] = wrap_angle(error[..., 6])
    return [_greatest(np.abs(column)) for column in error.reshape(-1, 7).T]


def _greatest(error: np.ndarray) -> float:
    """The greatest of some errors; infinite where one is no number."""
    return float(np.nan_to_num(error, nan=np.inf).max()) if error.size else 0.0

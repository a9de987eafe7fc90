"""Whether the bytes of a cloud are what they are read as, told by the values that come out.

A file says nothing of its columns. Read with a wrong number of them, or as float32 where it holds
float64, it gives values that no LiDAR measures: a negative reflectance, a point kilometres away.
And it mixes columns of a different spread, so that each is spread as widely as the widest.
"""

import numpy as np

from kdbench.datasets.reading import Reading

FARTHEST = 1000.0  # metres; no LiDAR sees so far
MOST = 0.01  # share of impossible values that a cloud may have
CANDIDATES = range(3, 13)  # columns that other files have
FEWEST = 200  # rows from which on the spread of columns means something
CLEARER = 0.25  # by how much the mean logarithm of the spread falls in a better layout
_NEARLY_NONE = 0.01  # a spread; that of a constant column counts as this
_OTHER_FORMATS = {b"\x93NUMPY": ".npy", b"# .PCD": ".pcd", b"VERSION": ".pcd", b"ply": ".ply"}


def layout_problem(data: bytes, reading: Reading) -> str | None:
    """Why the bytes of a cloud are not what `reading` takes them for; None if they may be."""
    for start, kind in _OTHER_FORMATS.items():
        if data.startswith(start):
            return f"a {kind} file: the points alone are wanted, as float32"
    points = _table(data, "<f4", reading.columns)
    better = _better_columns(data, points)
    if points is not None and _plausible(points) and better is None:
        return _reflectance_problem(points, reading)
    if any(_plausible(_table(data, "<f8", n), at_least=1) for n in CANDIDATES):
        return (
            f"the values do not fit {reading.columns} float32 columns, but float64 ones:"
            " write the clouds as float32"
        )
    if better is not None:
        return (
            f"the values do not fit {reading.columns} float32 columns, but {better}:"
            f" --set dataset.columns={better} reads them"
        )
    if points is None:
        return None  # cut short, which the reader says
    return (
        f"{_ranges(points)}: no {reading.columns} float32 columns x, y, z in metres, reflectance"
        " 0..1"
    )


def _table(data: bytes, kind: str, columns: int) -> np.ndarray | None:
    """The rows that the bytes hold; None where they are no whole number."""
    if len(data) % (columns * np.dtype(kind).itemsize):
        return None
    return np.frombuffer(data, kind).reshape(-1, columns)


def _plausible(points: np.ndarray | None, at_least: int = 0) -> bool:
    """Whether rows (n, >= 3) may be points: near enough, reflectance not below 0."""
    if points is None or len(points) < at_least:
        return False
    with np.errstate(invalid="ignore"):
        impossible = ~(np.abs(points[:, :3]) < FARTHEST).all(axis=1)
        impossible |= (points[:, 3:4] < 0).any(axis=1)
    impossible &= ~_not_finite_alone(points)
    return impossible.sum() <= MOST * len(points)


def _not_finite_alone(points: np.ndarray) -> np.ndarray:
    """Rows (n,) of a few values that are not finite, which the reader complains about itself."""
    broken = ~np.isfinite(points).all(axis=1)
    return broken if broken.sum() <= MOST * len(points) else np.zeros(len(points), bool)


def _better_columns(data: bytes, points: np.ndarray | None) -> int | None:
    """The number of float32 columns that fits clearly better than how `points` were read."""
    spreads = {}
    for columns in CANDIDATES:
        rows = _table(data, "<f4", columns)
        if rows is not None and len(rows) >= FEWEST and _plausible(rows):
            spreads[columns] = _spread(rows)
    if not spreads:
        return None
    now = np.inf if points is None or not _plausible(points) else _spread(points)
    least = min(spreads.values())
    if now - least < CLEARER:
        return None
    return min(n for n, spread in spreads.items() if spread < least + CLEARER / 2)


def _spread(rows: np.ndarray) -> float:
    """The mean over columns of the logarithm of the mean distance to their median.

    A few points far away count little in it, unlike in a variance.
    """
    rows = rows[(np.abs(rows[:, :3]) < FARTHEST).all(axis=1) & np.isfinite(rows).all(axis=1)]
    spreads = np.abs(rows - np.median(rows, axis=0)).mean(axis=0, dtype=np.float64)
    return float(np.log(spreads + _NEARLY_NONE).mean())


def _reflectance_problem(points: np.ndarray, reading: Reading) -> str | None:
    with np.errstate(invalid="ignore"):
        above = (points[:, 3:4] / reading.max_reflectance > 1.001).sum()
    if above <= MOST * len(points):
        return None
    highest = float(np.nanmax(points[:, 3]))
    limit = 255 if highest <= 255 else 65535
    return (
        f"reflectance goes up to {highest:g}, where 1 is the most:"
        f" --set dataset.max_reflectance={limit} divides it"
    )


def _ranges(points: np.ndarray) -> str:
    names = ("x", "y", "z", "reflectance")
    with np.errstate(invalid="ignore"):
        low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    return ", ".join(f"{n} {a:.3g} to {b:.3g}" for n, a, b in zip(names, low, high, strict=False))

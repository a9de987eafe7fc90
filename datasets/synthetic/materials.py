"""What surfaces are made of: how much they reflect, let through and swallow."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Material:
    """One kind of surface, as the laser sees it."""

    reflectance: float = 0.3  # intensity of a strong return; 0..1
    spread: float = 0.08  # standard deviation of it from one return to the next
    passing: float = 0.0  # share of rays that go through (window panes, spokes, mesh)
    lost: float = 0.0  # share of rays that are mirrored away or swallowed
    toned: bool = False  # reflectance is the object's own tone instead (paint, cloth, walls)


MATERIALS = {
    "asphalt": Material(0.27, 0.05),
    "pavement": Material(0.33, 0.06),
    "grass": Material(0.40, 0.12),
    "marking": Material(0.55, 0.08),
    "paint": Material(spread=0.07, lost=0.06, toned=True),
    "glass": Material(0.02, 0.04, passing=0.52, lost=0.24),
    "rubber": Material(0.05, 0.07, lost=0.10),
    "arch": Material(0.02, 0.03, lost=0.55),
    "interior": Material(0.06, 0.08, lost=0.25),
    "retroreflector": Material(0.95, 0.08),
    "lamp": Material(0.45, 0.30),
    "cloth": Material(spread=0.11, toned=True),
    "skin": Material(0.40, 0.10, lost=0.05),
    "hair": Material(0.20, 0.15, lost=0.15),
    "wall": Material(spread=0.08, lost=0.03, toned=True),
    "pane": Material(0.05, 0.08, passing=0.10, lost=0.55),
    "leaves": Material(0.34, 0.16, lost=0.05),
    "bark": Material(0.32, 0.10),
    "metal": Material(0.25, 0.15, lost=0.10),
    "spokes": Material(0.25, 0.18, passing=0.62, lost=0.05),
    "mesh": Material(0.28, 0.14, passing=0.55),
}

NAMES = tuple(MATERIALS)
INDEX = {name: i for i, name in enumerate(NAMES)}
_COLUMNS = MATERIALS.values()
REFLECTANCE = np.array([m.reflectance for m in _COLUMNS])
SPREAD = np.array([m.spread for m in _COLUMNS])
PASSING = np.array([m.passing for m in _COLUMNS])
LOST = np.array([m.lost for m in _COLUMNS])
TONED = np.array([m.toned for m in _COLUMNS])

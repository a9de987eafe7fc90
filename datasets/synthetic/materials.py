"""What surfaces are made of: how much they reflect, let through and swallow."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Material:
    """One kind of surface, as the laser sees it."""

    reflectance: float = 0.3  # reading of a strong return; 0..1
    spread: float = 0.08  # standard deviation of it from one return to the next
    passing: float = 0.0  # share of rays that go through (window panes, spokes, mesh)
    lost: float = 0.0  # share of rays that are mirrored away or swallowed
    toned: bool = False  # reflectance is the object's own tone instead (paint, cloth, walls)
    gloss: float = 0.0  # 0: as bright from all sides; 1: darker the more it is looked at aslant
    rough: float = 0.0  # metres of unevenness, where it lies on the ground


MATERIALS = {
    "asphalt": Material(0.325, 0.04, rough=0.005),
    "pavement": Material(0.34, 0.06, rough=0.008),
    "grass": Material(0.38, 0.09, rough=0.035),
    "paint": Material(spread=0.13, lost=0.04, toned=True, gloss=1.0),
    "glass": Material(0.0, 0.06, passing=0.36, lost=0.48, gloss=1.0),
    "rubber": Material(0.06, 0.08, lost=0.10),
    "arch": Material(0.0, 0.05, lost=0.55),
    "interior": Material(0.02, 0.09, lost=0.45),
    "retroreflector": Material(1.0, 0.10),
    "lamp": Material(0.50, 0.30),
    "cloth": Material(spread=0.10, toned=True),
    "skin": Material(0.40, 0.10, lost=0.05),
    "hair": Material(0.20, 0.15, lost=0.10),
    "wall": Material(spread=0.08, lost=0.03, toned=True),
    "pane": Material(0.05, 0.10, passing=0.10, lost=0.50, gloss=0.5),
    "leaves": Material(0.42, 0.09, lost=0.03),
    "bark": Material(0.34, 0.10),
    "metal": Material(0.28, 0.15, lost=0.08),
    "spokes": Material(0.25, 0.18, passing=0.42, lost=0.03),
    "mesh": Material(0.30, 0.12, passing=0.55),
}

NAMES = tuple(MATERIALS)
INDEX = {name: i for i, name in enumerate(NAMES)}


def _column(field: str) -> np.ndarray:
    return np.array([getattr(material, field) for material in MATERIALS.values()])


REFLECTANCE, SPREAD = _column("reflectance"), _column("spread")
PASSING, LOST = _column("passing"), _column("lost")
TONED, GLOSS, ROUGHNESS = _column("toned"), _column("gloss"), _column("rough")

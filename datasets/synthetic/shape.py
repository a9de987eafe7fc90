"""Solids that a ray can be cast against, and their placing in the world.

Every part of a shape is convex: the points inside all of its planes and inside its quadric
`|A (p - c)| <= 1`, if it has one. An ellipsoid is a quadric alone, a cylinder is a quadric of
rank two cut by two planes, everything else is planes alone.
"""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic import materials

MOST_PLANES = 25
NO_PLANE = (0.0, 0.0, 0.0, -1.0)  # holds every point


@dataclass(frozen=True)
class Shape:
    """Parts side by side; P of them. Local frame: x forward, y left, z up, metres."""

    planes: np.ndarray  # (P, MOST_PLANES, 4): inside where n . p + d <= 0; NO_PLANE where unused
    quadric: np.ndarray  # (P, 3, 3): A; zeros for a part without one
    centre: np.ndarray  # (P, 3): c
    low: np.ndarray  # (P, 3): bounds of each part
    high: np.ndarray  # (P, 3)
    material: np.ndarray  # (P,) int: index into materials.NAMES
    density: np.ndarray  # (P,): hits a metre inside foliage; inf for a solid

    def __add__(self, other: "Shape") -> "Shape":
        return joined([self, other])

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner of the whole shape, (3,) each."""
        return self.low.min(axis=0), self.high.max(axis=0)


def joined(shapes) -> Shape:
    """The parts of several shapes as one shape."""
    shapes = list(shapes)
    return Shape(
        *(np.concatenate([getattr(s, name) for s in shapes]) for name in Shape.__dataclass_fields__)
    )


def _part(planes, quadric, centre, low, high, material, density=np.inf) -> Shape:
    padded = np.tile(NO_PLANE, (MOST_PLANES, 1))
    planes = np.asarray(planes, float).reshape(-1, 4)
    padded[: len(planes)] = planes
    return Shape(
        planes=padded[None],
        quadric=np.asarray(quadric, float)[None],
        centre=np.asarray(centre, float)[None],
        low=np.asarray(low, float)[None],
        high=np.asarray(high, float)[None],
        material=np.array([materials.INDEX[material]]),
        density=np.array([density]),
    )


def solid(material: str, side=None, top=None, front=None, density=np.inf) -> Shape:
    """A convex polyhedron drawn as on a technical drawing.

    `side` is a convex polygon in (x, z), `top` in (x, y), `front` in (y, z); the solid is what
    lies inside all the views given. Two views at least, so that it is bounded.
    """
    planes = []
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    for polygon, axes in ((side, (0, 2)), (top, (0, 1)), (front, (1, 2))):
        if polygon is None:
            continue
        polygon = np.asarray(polygon, float)
        low[list(axes)] = np.maximum(low[list(axes)], polygon.min(axis=0))
        high[list(axes)] = np.minimum(high[list(axes)], polygon.max(axis=0))
        planes += _edges(polygon, axes)
    kept = np.unique(np.round(planes, 9), axis=0)  # views share faces
    return _part(kept, np.zeros((3, 3)), (low + high) / 2, low, high, material, density)


def _edges(polygon: np.ndarray, axes: tuple[int, int]) -> list[np.ndarray]:
    """The planes through a convex polygon's edges, along the axis it does not show."""
    planes = []
    middle = polygon.mean(axis=0)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        normal = np.array([end[1] - start[1], start[0] - end[0]])
        normal /= np.hypot(*normal)
        if normal @ (middle - start) > 0:
            normal = -normal
        plane = np.zeros(4)
        plane[list(axes)] = normal
        plane[3] = -normal @ start
        if (polygon @ normal + plane[3] > 1e-6).any():
            raise ValueError(f"a view is not convex at {start.tolist()}: {polygon.tolist()}")
        planes.append(plane)
    return planes


def rectangle(low_u, high_u, low_v, high_v) -> list[tuple[float, float]]:
    """A view for `solid` with straight sides."""
    return [(low_u, low_v), (high_u, low_v), (high_u, high_v), (low_u, high_v)]


def box(material: str, low, high, density=np.inf) -> Shape:
    """An upright cuboid between two corners."""
    return solid(
        material,
        side=rectangle(low[0], high[0], low[2], high[2]),
        top=rectangle(low[0], high[0], low[1], high[1]),
        density=density,
    )


def ellipsoid(material: str, centre, radii, density=np.inf) -> Shape:
    """An ellipsoid along the axes."""
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)
    return _part([], np.diag(1 / radii), centre, centre - radii, centre + radii, material, density)


def limb(material: str, start, end, radius: float) -> Shape:
    """An ellipsoid stretched from `start` to `end`: arms, legs."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    across, along, length = _axes(start, end)
    half = length / 2 + radius / 2
    quadric = np.vstack([across / radius, along[None] / half])
    reach = np.sqrt((along * half) ** 2 + ((across * radius) ** 2).sum(axis=0))
    middle = (start + end) / 2
    return _part([], quadric, middle, middle - reach, middle + reach, material)


def rod(material: str, start, end, radius: float, density=np.inf) -> Shape:
    """A cylinder with flat ends from `start` to `end`."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    across, along, _ = _axes(start, end)
    quadric = np.vstack([across / radius, np.zeros((1, 3))])
    planes = [(*along, -along @ end), (*-along, along @ start)]
    reach = radius * np.sqrt(np.maximum(1 - along**2, 0))
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    return _part(planes, quadric, (start + end) / 2, low, high, material, density)


def _axes(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Two unit vectors across a segment (2, 3), the one along it (3,), and its length."""
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    helper = np.eye(3)[np.argmin(np.abs(along))]
    first = np.cross(along, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(along, first)]), along, length


@dataclass(frozen=True)
class Solids:
    """Parts in the world, ready for casting; P of them, and which object each belongs to."""

    planes: np.ndarray  # (P, MOST_PLANES, 4)
    quadric: np.ndarray  # (P, 3, 3)
    centre: np.ndarray  # (P, 3)
    material: np.ndarray  # (P,)
    density: np.ndarray  # (P,)
    box_centre: np.ndarray  # (P, 3): middle of the part's bounding box
    box_half: np.ndarray  # (P, 3): half its extent along its own axes
    yaw: np.ndarray  # (P,)
    object: np.ndarray  # (P,) int: row in the list of placed shapes


@dataclass
class Placed:
    """One shape standing in the world."""

    shape: Shape
    position: tuple[float, float, float]  # of the shape's origin
    yaw: float
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tone: float = 0.3  # reflectance of its toned materials


def place(objects: list[Placed]) -> Solids:
    """All parts of all objects, scaled, turned and moved to where they stand."""
    owner = np.repeat(np.arange(len(objects)), [len(o.shape.density) for o in objects])
    local = joined([o.shape for o in objects])
    scale = np.array([o.scale for o in objects], float)[owner]
    position = np.array([o.position for o in objects], float)[owner]
    yaw = np.array([o.yaw for o in objects], float)[owner]
    turn = _turns(yaw)
    normals = np.einsum("pij,pfj->pfi", turn, local.planes[..., :3] / scale[:, None])
    length = np.linalg.norm(normals, axis=2)
    length[length == 0] = 1
    normals /= length[..., None]
    offset = local.planes[..., 3] / length - np.einsum("pfi,pi->pf", normals, position)
    return Solids(
        planes=np.concatenate([normals, offset[..., None]], axis=2),
        quadric=np.einsum("pij,pkj->pik", local.quadric / scale[:, None], turn),
        centre=_moved(local.centre * scale, turn, position),
        material=local.material,
        density=local.density,
        box_centre=_moved((local.low + local.high) / 2 * scale, turn, position),
        box_half=(local.high - local.low) / 2 * scale,
        yaw=yaw,
        object=owner,
    )


def _turns(yaw: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.zeros((len(yaw), 3, 3))
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    turn[:, 2, 2] = 1
    return turn


def _moved(points: np.ndarray, turn: np.ndarray, position: np.ndarray) -> np.ndarray:
    return np.einsum("pij,pj->pi", turn, points) + position

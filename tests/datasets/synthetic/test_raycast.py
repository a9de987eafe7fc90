"""Crossings against ray marching and closed forms."""

import numpy as np
import pytest

from kdbench.datasets.synthetic import people, sensor, surroundings, vehicles
from kdbench.datasets.synthetic.raycast import crossings, windows
from kdbench.datasets.synthetic.shape import (
    Placed,
    box,
    ellipsoid,
    joined,
    limb,
    place,
    rectangle,
    rod,
    solid,
)

STEP = 0.002  # metres, of the marching


@pytest.fixture
def rays():
    return sensor.rays(np.random.default_rng(0))


def inside(solids, part: int, points: np.ndarray) -> np.ndarray:
    """The definition of a part: inside all planes and the quadric."""
    planes = solids.planes[part]
    held = (points @ planes[:, :3].T + planes[:, 3] <= 0).all(axis=-1)
    if solids.quadric[part].any():
        local = (points - solids.centre[part]) @ solids.quadric[part].T
        held &= (local**2).sum(axis=-1) <= 1
    return held


def march(rays, solids, part: int, near: float, far: float, chosen: np.ndarray):
    """First and last point of chosen rays inside a part, NaN where there is none."""
    steps = np.arange(near, far, STEP)
    start = np.repeat(rays.start, len(rays.azimuth))
    first, last = np.full(len(chosen), np.nan), np.full(len(chosen), np.nan)
    for i, ray in enumerate(chosen):
        points = steps[:, None] * rays.direction[ray]
        points[:, 2] += start[ray]
        held = steps[inside(solids, part, points)]
        if len(held):
            first[i], last[i] = held[0], held[-1]
    return first, last


PRIMITIVES = {
    "box": box("wall", (-1, -0.5, 0), (1, 0.5, 1.5)),
    "ellipsoid": ellipsoid("leaves", (0, 0, 1), (1.2, 0.5, 0.8)),
    "limb": limb("cloth", (-0.4, 0.2, 0.3), (0.5, -0.1, 1.4), 0.2),
    "rod": rod("metal", (-0.5, -0.3, 0.4), (0.6, 0.4, 1.2), 0.25),
    "prism": solid(
        "wall",
        side=[(-1, 0), (1, 0), (0.4, 1.4), (-0.8, 1.2)],
        top=rectangle(-1, 1, -0.6, 0.6),
        front=[(-0.6, 0), (0.6, 0), (0.3, 1.4), (-0.3, 1.4)],
    ),
}


@pytest.mark.parametrize("name", PRIMITIVES)
def test_each_primitive_is_crossed_where_marching_finds_it(rays, name):
    solids = place([Placed(PRIMITIVES[name], (7.0, 1.0, -1.5), 0.6, (1.1, 0.9, 1.2))])
    met = crossings(rays, solids)
    assert len(met.ray) > 100
    rng = np.random.default_rng(1)
    hit = rng.choice(len(met.ray), 60, replace=False)
    first, last = march(rays, solids, 0, 4, 10, met.ray[hit])
    short = met.leave[hit] - met.enter[hit] < 2 * STEP  # grazed: marching may step over it
    assert np.allclose(met.enter[hit][~short], first[~short], atol=STEP)
    assert np.allclose(met.leave[hit][~short], last[~short], atol=STEP)
    missed = np.setdiff1d(rng.choice(len(rays), 200), met.ray)
    first, last = march(rays, solids, 0, 4, 10, missed)
    assert (np.isnan(first) | (last - first < 2 * STEP)).all()


def test_windows_leave_no_crossing_out(rays):
    """With every ray tried on every part there are the same crossings."""
    rng = np.random.default_rng(2)
    shapes = [vehicles.cars()[0], people.pedestrians()[3], people.cyclists()[1],
              surroundings.building(), surroundings.trees()[0]]  # fmt: skip
    spots = [(8, -4), (12, 3), (20, 0), (15, 14), (30, -9)]
    placed = [
        Placed(s, (x, y, -1.7), rng.uniform(-3, 3)) for s, (x, y) in zip(shapes, spots, strict=True)
    ]
    solids = place(placed)
    met = crossings(rays, solids)
    start = np.repeat(rays.start, len(rays.azimuth))
    count = 0
    for part in range(len(solids.density)):
        count += int(_plain_hits(rays, start, solids, part).sum())
    assert count == len(met.ray)


def _plain_hits(rays, start, solids, part):
    """One part against all rays, written the plain way."""
    origin = np.column_stack([np.zeros((len(start), 2)), start])
    enter, leave = np.zeros(len(start)), np.full(len(start), np.inf)
    for *normal, offset in solids.planes[part]:
        slope, height = rays.direction @ normal, origin @ np.array(normal) + offset
        with np.errstate(divide="ignore", invalid="ignore"):
            at = -height / slope
        enter = np.where(slope < 0, np.maximum(enter, at), enter)
        leave = np.where(slope > 0, np.minimum(leave, at), leave)
        leave = np.where((slope == 0) & (height > 0), -1, leave)
    matrix = solids.quadric[part]
    if matrix.any():
        o, d = (origin - solids.centre[part]) @ matrix.T, rays.direction @ matrix.T
        a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
        root = np.sqrt(np.maximum(b * b - a * c, 0))
        enter, leave = np.maximum(enter, (-b - root) / a), np.minimum(leave, (-b + root) / a)
        leave = np.where(b * b < a * c, -1, leave)
    return (enter < leave) & (enter > 0)


def test_sphere_in_closed_form(rays):
    middle, radius = np.array([10.0, -2.0, 0.0]), 1.5
    solids = place([Placed(ellipsoid("wall", (0, 0, 0), (radius,) * 3), tuple(middle), 0.3)])
    met = crossings(rays, solids)
    start = np.repeat(rays.start, len(rays.azimuth))
    origin = np.column_stack([np.zeros((len(start), 2)), start])
    b = (rays.direction * (middle - origin)).sum(1)
    inner = b**2 - ((middle - origin) ** 2).sum(1) + radius**2
    hit = np.flatnonzero(inner > 0)
    assert sorted(met.ray) == hit.tolist()
    order = np.argsort(met.ray)
    assert np.allclose(met.enter[order], (b - np.sqrt(np.maximum(inner, 0)))[hit])
    at = origin[hit] + met.enter[order, None] * rays.direction[hit]
    normal = (at - middle) / radius
    assert np.allclose(met.cosine[order], -(normal * rays.direction[hit]).sum(1))


def test_box_all_around_the_sensor_is_never_entered(rays):
    solids = place([Placed(box("wall", (-5, -5, -3), (5, 5, 3)), (0, 0, 0), 0.2)])
    assert len(crossings(rays, solids).ray) == 0
    assert windows(rays, solids, np.array([0]))[3] == len(rays.azimuth)


def test_a_view_that_is_not_convex_is_an_error():
    with pytest.raises(ValueError, match="not convex"):
        solid("wall", side=[(0, 0), (2, 0), (1, 0.2), (1, 2)], top=rectangle(0, 2, 0, 1))


def test_every_shape_keeps_inside_its_bounds():
    """Bounds drive the windows, so a part must not reach out of them."""
    rng = np.random.default_rng(3)
    shape = joined([*vehicles.cars()[:2], people.bicycle(), people.pedestrians()[2]])
    solids = place([Placed(shape, (0.0, 0.0, 0.0), 0.0)])
    for part in range(len(solids.density)):
        low = solids.box_centre[part] - solids.box_half[part]
        size = 2 * solids.box_half[part]
        points = low - 0.3 + rng.random((4000, 3)) * (size + 0.6)
        held = points[inside(solids, part, points)]
        assert (held >= low - 1e-6).all() and (held <= low + size + 1e-6).all()

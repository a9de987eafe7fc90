"""What lines a street: buildings, trees, hedges, fences, poles, signs and small clutter."""

import functools

import numpy as np

from kdbench.datasets.synthetic.shape import Shape, box, ellipsoid, joined, rectangle, rod, solid


@functools.cache
def building() -> Shape:
    """A block of 10 x 8 x 8 m with bays, doors and rows of windows on its street sides."""
    parts = [box("wall", (-5, -4, 0), (5, 4, 8))]
    for x in (-3.6, -1.2, 1.2, 3.6):
        for z in (1.0, 4.2):
            parts += [
                box("pane", (x - 0.55, y - 0.02, z), (x + 0.55, y + 0.02, z + 1.5)) for y in (-4, 4)
            ]
    parts.append(box("wall", (-5.2, -4.25, 3.0), (5.2, 4.25, 3.25)))
    return joined(parts)


@functools.cache
def plain_wall() -> Shape:
    """A closed wall of 1 x 1 x 1 m, to be scaled: garden walls, sheds, containers."""
    return box("wall", (-0.5, -0.5, 0), (0.5, 0.5, 1))


@functools.cache
def house() -> Shape:
    """A block of 10 x 8 m with a gabled roof, eaves at 4.5 m, ridge at 8 m."""
    roof = solid(
        "wall",
        side=rectangle(-5.3, 5.3, 4.4, 8),
        front=[(-4.4, 4.4), (4.4, 4.4), (0, 8)],
    )
    walls = box("wall", (-5, -4, 0), (5, 4, 4.5))
    panes = [
        box("pane", (x - 0.7, y - 0.02, 1.0), (x + 0.7, y + 0.02, 2.4))
        for x in (-3, 0, 3)
        for y in (-4, 4)
    ]
    return joined([walls, roof, *panes])


@functools.cache
def trees() -> tuple[Shape, ...]:
    """Trunks under irregular crowns of overlapping clouds of leaves."""
    rng = np.random.default_rng(2)
    return tuple(_tree(rng) for _ in range(8))


def _tree(rng: np.random.Generator) -> Shape:
    clear = rng.uniform(1.6, 3.2)
    parts = [rod("bark", (0, 0, -0.3), (0.1, 0, clear + 1.5), rng.uniform(0.10, 0.24))]
    spread = rng.uniform(1.2, 2.4)
    for _ in range(7):
        radii = rng.uniform(0.7, 1.5, 3)
        centre = rng.normal(0, [spread / 2, spread / 2, 0.7]) + (0, 0, clear + radii[2] + 0.5)
        parts.append(ellipsoid("leaves", centre, radii, density=rng.uniform(0.3, 1.5)))
    return joined(parts)


@functools.cache
def bushes() -> tuple[Shape, ...]:
    """Low shrubs, about 2 m across and 1.3 m high."""
    rng = np.random.default_rng(3)
    return tuple(
        joined(
            ellipsoid(
                "leaves",
                rng.normal(0, [0.5, 0.5, 0.05]) + (0, 0, 0.5),
                rng.uniform(0.35, 0.85, 3),
                density=rng.uniform(1, 4),
            )
            for _ in range(4)
        )
        for _ in range(6)
    )


@functools.cache
def hedges() -> tuple[Shape, ...]:
    """Hedges of 4 x 0.8 x 1.3 m, trimmed or not, with shoots and stems that stand out of some."""
    rng = np.random.default_rng(4)
    return tuple(_hedge(rng, shoots) for shoots in (0, 0, 1, 1, 2, 3))


def _hedge(rng: np.random.Generator, shoots: int) -> Shape:
    density, rough = rng.uniform(3, 7), rng.uniform(0.03, 0.12)
    parts = [box("leaves", (-2, -0.30, 0), (2, 0.30, rng.uniform(1, 1.15)), density=density)]
    for x in np.arange(-1.8, 2.0, 0.45):
        centre = (x, rng.normal(0, rough), rng.uniform(0.55, 0.75))
        parts.append(ellipsoid("leaves", centre, (0.45, 0.42, 0.62), density=density))
    for x in rng.uniform(-1.9, 1.9, shoots):
        radii = rng.uniform((0.15, 0.15, 0.3), (0.45, 0.4, 0.8))
        centre = (x, rng.normal(0, 0.25), rng.uniform(0.9, 1.3))
        parts.append(ellipsoid("leaves", centre, radii, density=rng.uniform(1, 5)))
        stem = rng.uniform(0.02, 0.12)
        parts.append(rod("bark", (x + 0.1, 0.3, 0), (x + 0.1, 0.3, rng.uniform(1, 2.5)), stem))
    return joined(parts)


@functools.cache
def woodlands() -> tuple[Shape, ...]:
    """Edges of woods, 16 m wide, 8 m high: a deep screen of leaves, and what grows before it."""
    rng = np.random.default_rng(5)
    return tuple(_woodland(rng) for _ in range(5))


def _woodland(rng: np.random.Generator) -> Shape:
    parts = [
        ellipsoid(
            "leaves",
            (rng.uniform(-8, 8), rng.normal(0, 1.0), rng.uniform(0.3, 6.5)),
            rng.uniform((1.2, 0.8, 0.9), (2.6, 1.8, 2.0)),
            density=rng.uniform(0.3, 1.8),
        )
        for _ in range(22)
    ]
    parts += [
        ellipsoid(
            "leaves",
            (rng.uniform(-8, 8), rng.uniform(-2, 2), rng.uniform(0.2, 1.2)),
            rng.uniform((0.25, 0.25, 0.3), (1.0, 0.8, 0.9)),
            density=rng.uniform(0.5, 4),
        )
        for _ in range(8)
    ]
    for x in rng.uniform(-8, 8, 6):
        y = rng.uniform(-1.5, 1.5)
        parts.append(rod("bark", (x, y, -0.5), (x, y, 6), rng.uniform(0.06, 0.25)))
    return joined(parts)


@functools.cache
def fence() -> Shape:
    """Three metres of open fence, 1.2 m high."""
    rails = [box("metal", (-1.5, -0.02, z), (1.5, 0.02, z + 0.07)) for z in (0.3, 1.05)]
    posts = [box("metal", (x - 0.04, -0.04, 0), (x + 0.04, 0.04, 1.2)) for x in (-1.45, 0.0, 1.45)]
    return joined([box("mesh", (-1.5, -0.01, 0.1), (1.5, 0.01, 1.15)), *rails, *posts])


@functools.cache
def guardrail() -> Shape:
    """Twelve metres of crash barrier."""
    posts = [
        box("metal", (x - 0.06, -0.06, 0), (x + 0.06, 0.06, 0.7)) for x in (-5, -2.5, 0, 2.5, 5)
    ]
    return joined([box("metal", (-6, -0.05, 0.45), (6, 0.05, 0.76)), *posts])


@functools.cache
def lamp_post() -> Shape:
    return joined(
        [rod("metal", (0, 0, -0.2), (0, 0, 6), 0.08), rod("metal", (0, 0, -0.2), (0, 0, 1), 0.12)]
    )


@functools.cache
def poles() -> tuple[Shape, ...]:
    """Bollards and short poles, 0.8 to 1.8 m high, many with bright or dark bands."""
    rng = np.random.default_rng(9)
    return tuple(_pole(rng) for _ in range(16))


def _pole(rng: np.random.Generator) -> Shape:
    top, radius = rng.uniform(0.8, 1.8), rng.uniform(0.035, 0.13)
    parts = [rod(rng.choice(["metal", "metal", "wall", "bark"]), (0, 0, -0.1), (0, 0, top), radius)]
    for _ in range(rng.integers(0, 5)):
        low = rng.uniform(0.1, 0.9) * top
        high = min(top + 0.01, low + rng.uniform(0.06, 0.35))
        band = rng.choice(["retroreflector", "retroreflector", "lamp", "rubber", "pane"])
        parts.append(rod(band, (0, 0, low), (0, 0, high), radius + rng.uniform(0.002, 0.05)))
    return joined(parts)


@functools.cache
def sign() -> Shape:
    """A traffic sign on its post; it faces -x."""
    return joined(
        [
            rod("metal", (0.04, 0, -0.1), (0.04, 0, 2.7), 0.035),
            box("retroreflector", (-0.01, -0.32, 2.05), (0.01, 0.32, 2.7)),
        ]
    )


@functools.cache
def bin_() -> Shape:
    """A wheeled dustbin."""
    return solid(
        "wall",
        side=[(-0.24, 0.05), (0.24, 0.05), (0.30, 1.05), (-0.30, 1.05)],
        top=rectangle(-0.3, 0.3, -0.27, 0.27),
    )


@functools.cache
def cabinet() -> Shape:
    """A grey box of the telephone company."""
    return box("wall", (-0.2, -0.6, 0), (0.2, 0.6, 1.15))


# Things as tall as a person, in which a detector that has seen too few of them finds people.


@functools.cache
def shrubs() -> tuple[Shape, ...]:
    """Bushes and saplings that are narrower than they are tall, 1.5 m high."""
    rng = np.random.default_rng(6)
    return tuple(_shrub(rng) for _ in range(8))


def _shrub(rng: np.random.Generator) -> Shape:
    stem = rod("bark", (0, 0, -0.1), (rng.normal(0, 0.05), 0, 0.9), rng.uniform(0.02, 0.08))
    leaves = [
        ellipsoid(
            "leaves",
            (*rng.normal(0, 0.09, 2), rng.uniform(0.35, 1.1)),
            rng.uniform((0.16, 0.16, 0.25), (0.38, 0.38, 0.55)),
            density=rng.uniform(2, 7),
        )
        for _ in range(rng.integers(2, 5))
    ]
    return joined([stem, *leaves])


@functools.cache
def posts() -> tuple[Shape, ...]:
    """Posts of 1 to 2.2 m with something on them: plates, boxes, meters, mirrors."""
    rng = np.random.default_rng(7)
    return tuple(_post(rng) for _ in range(12))


def _post(rng: np.random.Generator) -> Shape:
    top = rng.uniform(1.0, 2.2)
    wide, high = rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.35)
    deep = rng.choice([0.01, 0.1, 0.15])
    materials = ["retroreflector", "retroreflector", "lamp", "wall", "metal", "pane", "paint"]
    material = rng.choice(materials)
    plate = box(material, (-deep, -wide, top - 2 * high), (deep, wide, top))
    parts = [rod("metal", (0, 0, -0.1), (0, 0, top), rng.uniform(0.02, 0.08)), plate]
    if rng.random() < 0.4:  # a second plate, or the base of a machine
        low = rng.uniform(0, 0.8)
        parts.append(box("wall", (-0.1, -0.15, low), (0.1, 0.15, low + 0.4)))
    return joined(parts)


@functools.cache
def pillar() -> Shape:
    """A pillar of a gate or a fence, 0.4 x 0.4 x 1.4 m, with a cap."""
    cap = box("wall", (-0.24, -0.24, 1.3), (0.24, 0.24, 1.4))
    return box("wall", (-0.2, -0.2, 0), (0.2, 0.2, 1.3)) + cap


@functools.cache
def trunks() -> tuple[Shape, ...]:
    """Trunks whose crown is above what the sensor sees, with shoots and a stake beside them."""
    rng = np.random.default_rng(8)
    return tuple(_trunk(rng) for _ in range(6))


def _trunk(rng: np.random.Generator) -> Shape:
    lean, radius = rng.normal(0, 0.12, 2), rng.uniform(0.06, 0.28)
    parts = [rod("bark", (0, 0, -0.2), (*lean, rng.uniform(1.4, 4.5)), radius)]
    if rng.random() < 0.5:
        place = (rng.normal(0, 0.1), radius, rng.uniform(0.2, 1.0))
        parts.append(ellipsoid("leaves", place, (0.3, 0.3, 0.35), density=rng.uniform(1, 4)))
    if rng.random() < 0.3:
        parts.append(rod("bark", (0.35, 0, 0), (0.35, 0, 1.6), 0.035))
    return joined(parts)


@functools.cache
def machine() -> Shape:
    """A ticket or vending machine, 0.4 x 0.5 x 1.6 m."""
    case = box("wall", (-0.2, -0.25, 0), (0.2, 0.25, 1.6))
    face = box("pane", (-0.21, -0.2, 0.9), (-0.19, 0.2, 1.4))
    return joined([case, face, box("retroreflector", (-0.21, -0.2, 1.45), (-0.19, 0.2, 1.55))])


@functools.cache
def board() -> Shape:
    """A folding board on the pavement, 0.65 m wide and 1.1 m high."""
    return solid("wall", side=[(-0.3, 0), (0.3, 0), (0.03, 1.1), (-0.03, 1.1)],
                 front=rectangle(-0.32, 0.32, 0, 1.1))  # fmt: skip


@functools.cache
def motorcycle() -> Shape:
    """A parked motorcycle or scooter, 1.9 m long."""
    wheels = [rod("rubber", (x, -0.06, 0.3), (x, 0.06, 0.3), 0.3) for x in (-0.65, 0.65)]
    body = solid("paint", side=[(-0.8, 0.45), (0.35, 0.3), (0.5, 0.75), (-0.1, 0.85), (-0.85, 0.8)],
                 top=rectangle(-0.9, 0.6, -0.16, 0.16))  # fmt: skip
    fork = rod("metal", (0.65, 0, 0.3), (0.45, 0, 1.0), 0.06)
    bar = rod("metal", (0.42, -0.33, 1.02), (0.42, 0.33, 1.02), 0.025)
    lamp = box("lamp", (0.48, -0.1, 0.8), (0.6, 0.1, 0.98))
    return joined([*wheels, body, fork, bar, lamp])

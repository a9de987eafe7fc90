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
def hedge() -> Shape:
    """A trimmed hedge of 4 x 0.8 x 1.3 m with a rough face."""
    rng = np.random.default_rng(4)
    parts = [box("leaves", (-2, -0.30, 0), (2, 0.30, 1.15), density=5)]
    for x in np.arange(-1.8, 2.0, 0.45):
        centre = (x, rng.normal(0, 0.05), rng.uniform(0.55, 0.75))
        parts.append(ellipsoid("leaves", centre, (0.45, 0.42, 0.62), density=4))
    return joined(parts)


@functools.cache
def woodland() -> Shape:
    """The edge of a wood, 16 m wide, 8 m high: a deep screen of leaves before trunks."""
    rng = np.random.default_rng(5)
    parts = [
        ellipsoid(
            "leaves",
            (rng.uniform(-8, 8), rng.normal(0, 1.0), rng.uniform(0.3, 6.5)),
            rng.uniform((1.2, 0.8, 0.9), (2.6, 1.8, 2.0)),
            density=rng.uniform(0.3, 1.8),
        )
        for _ in range(22)
    ]
    parts += [rod("bark", (x, 0.5, -0.5), (x, 0.5, 6), 0.18) for x in rng.uniform(-8, 8, 4)]
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
def bollard() -> Shape:
    return rod("metal", (0, 0, -0.1), (0, 0, 0.95), 0.07)


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

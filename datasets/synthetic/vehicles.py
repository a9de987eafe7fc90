"""Cars of several body styles, vans and trucks, built from convex parts.

Each stands on z = 0 in its usual size, its middle over the origin; a frame scales it to the
size drawn for it.
"""

import functools
from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic.shape import Shape, box, joined, rectangle, rod, solid


@dataclass(frozen=True)
class Body:
    """The lines of one car body, metres; x is counted from the middle, forward."""

    length: float = 4.0
    width: float = 1.65
    height: float = 1.48
    belt: float = 0.92  # height of the windows' lower edge
    nose: float = 0.70  # height of the bonnet's front edge
    windscreen: tuple[float, float] = (0.95, 0.20)  # x of its foot and of its top
    rear_window: tuple[float, float] = (-1.85, -1.55)  # x of its foot and of its top
    boot: float = 0.95  # height of the tail behind the rear window
    wheel: float = 0.31  # radius
    clearance: float = 0.20


BODIES = {
    "hatch": Body(3.8, 1.62, 1.46, 0.92, 0.70, (0.66, -0.16), (-1.76, -1.14), 0.95),
    "small": Body(3.4, 1.55, 1.50, 0.95, 0.76, (0.74, 0.00), (-1.58, -1.13), 0.98),
    "saloon": Body(4.5, 1.75, 1.43, 0.90, 0.68, (0.74, -0.25), (-1.60, -0.95), 0.98),
    "estate": Body(4.5, 1.74, 1.48, 0.92, 0.68, (0.74, -0.20), (-2.12, -1.74), 0.97),
    "coupe": Body(4.2, 1.72, 1.33, 0.85, 0.62, (0.58, -0.30), (-1.68, -0.88), 0.90),
    "suv": Body(4.4, 1.80, 1.70, 1.05, 0.88, (0.78, 0.00), (-2.05, -1.60), 1.08, 0.36, 0.27),
    "mpv": Body(4.3, 1.76, 1.64, 1.00, 0.78, (1.00, 0.00), (-2.02, -1.60), 1.02, 0.32),
    "fastback": Body(4.3, 1.73, 1.45, 0.91, 0.70, (0.70, -0.20), (-1.90, -1.05), 0.96),
}


@functools.cache
def cars() -> tuple[Shape, ...]:
    """One shape a body style."""
    return tuple(car(body) for body in BODIES.values())


def car(body: Body) -> Shape:
    """A car: hull, glazed cabin with seats inside, roof and pillars, wheels, lamps and plates."""
    return joined([*_hull(body), *_cabin(body), *_seats(body), *_wheels(body), *_reflectors(body)])


def _hull(b: Body) -> list[Shape]:
    """The body below the windows, and bumpers that stand out of it."""
    front, half = b.length / 2, b.width / 2
    nose, tail = front - 0.06, 0.035 - front
    body = solid(
        "paint",
        side=[
            (nose - 0.14, b.clearance), (nose, 0.38), (nose - 0.24, b.nose + 0.05),
            (b.windscreen[0], b.belt + 0.03), (b.rear_window[0], b.boot),
            (tail + 0.06, b.boot - 0.06), (tail + 0.02, 0.62), (tail, 0.36),
            (tail + 0.18, b.clearance),
        ],
        top=_plan(nose, half, 0.75, 0.30, 0.18, 0.20),
        front=[(-half + 0.08, b.clearance), (-half, 0.55), (-half + 0.05, b.belt + 0.2),
               (half - 0.05, b.belt + 0.2), (half, 0.55), (half - 0.08, b.clearance)],
    )  # fmt: skip
    return [body, _bumper(front - 0.05, half, 0.32), _bumper(-front, half, 0.36)]


def _bumper(end: float, half: float, corner: float) -> Shape:
    """From 0.27 to 0.55 m high; `corner` metres of each side are rounded off its face."""
    inwards = -np.sign(end)
    side = [(end + 0.03 * inwards, 0.27), (end, 0.36), (end + 0.02 * inwards, 0.55),
            (end + 0.4 * inwards, 0.55), (end + 0.4 * inwards, 0.27)]  # fmt: skip
    left = [(end, half - corner), (end + 0.11 * inwards, half - 0.22 * corner),
            (end + 0.4 * inwards, half)]  # fmt: skip
    return solid("paint", side=side, top=[*left, *((x, -y) for x, y in reversed(left))])


def _plan(front, half, nose_back, nose_in, tail_back, tail_in) -> list[tuple[float, float]]:
    """The outline from above, its nose rounded, the corners of its tail cut off."""
    return [
        (front, half - nose_in - 0.12), (front - nose_back / 4, half - 0.4 * nose_in),
        (front - nose_back, half), (-front + tail_back, half),
        (-front, half - tail_in), (-front, tail_in - half), (tail_back - front, -half),
        (front - nose_back, -half), (front - nose_back / 4, 0.4 * nose_in - half),
        (front, nose_in + 0.12 - half),
    ]  # fmt: skip


def _cabin(b: Body) -> list[Shape]:
    """Panes all round, the roof's skin over them, and the pillars that carry it."""
    half, foot, shoulder = b.width / 2 - 0.06, b.belt - 0.02, b.height - 0.07
    lean = 0.17  # how far the sides lean in towards the roof
    (x0, x1), (x3, x2) = b.windscreen, b.rear_window
    front = [(-half, foot), (-half + lean, b.height), (half - lean, b.height), (half, foot)]
    side = [(x0, foot), (x1, b.height), (x2, b.height), (x3, foot)]

    def at(height: float) -> tuple[float, float]:
        """x of the rear window and of the windscreen at a height."""
        share = (height - foot) / (b.height - foot)
        return x3 + (x2 - x3) * share, x0 + (x1 - x0) * share

    back, ahead = at(shoulder)
    glass = solid("glass", side=side, front=front)
    roof = solid(
        "paint", front=front,
        side=[(ahead + 0.02, shoulder), (x1, b.height - 0.02), (x1 - 0.25, b.height),
              (x2 + 0.25, b.height), (x2, b.height - 0.03), (back - 0.02, shoulder)],
    )  # fmt: skip
    middle = (x1 + x2) / 2 + 0.05
    pillars = [_pillar(front, foot, b.height, middle, middle, 0.05)]
    pillars += [_pillar(front, foot, b.height, x3 + 0.10, x2 + 0.10, 0.14)]
    pillars += [_pillar(front, foot, b.height, x0 - 0.07, x1 - 0.05, 0.04)]
    return [glass, roof, *(side for pair in pillars for side in pair)]


def _pillar(front, foot, height, x_foot, x_top, half) -> list[Shape]:
    """The left and the right one, 8 cm deep, flush with the panes."""
    side = [(x_foot - half, foot), (x_foot + half, foot),
            (x_top + half, height), (x_top - half, height)]  # fmt: skip
    (y0, _), (y1, _), (y2, _), (y3, _) = front
    left = [(y3 - 0.08, foot), (y3 + 0.004, foot), (y2 + 0.004, height), (y2 - 0.08, height)]
    right = [(y0 + 0.08, foot), (y0 - 0.004, foot), (y1 - 0.004, height), (y1 + 0.08, height)]
    return [solid("paint", side=side, front=view) for view in (left, right)]


def _seats(b: Body) -> list[Shape]:
    """Backrests and heads' supports, seen through the panes."""
    width, top = b.width / 2 - 0.25, b.belt + 0.55 * (b.height - b.belt)
    return [
        box("interior", (x - 0.08, -width, b.belt - 0.3), (x + 0.08, width, top))
        for x in (0.0 if b.length > 3.6 else 0.1, b.rear_window[0] + 0.55)
    ]


def _wheels(b: Body) -> list[Shape]:
    """Tyres, rims, and the dark arches around them, each a little prouder than the last."""
    parts, half = [], b.width / 2
    for x in (b.length / 2 - 0.78, -b.length / 2 + 0.72):
        for side in (1, -1):
            inner = (x, side * (half - 0.2), b.wheel)
            for material, out, radius in (("arch", 1, 1.18), ("rubber", 2, 1.0), ("metal", 4, 0.6)):
                outer = (x, side * (half + out / 1000), b.wheel)
                parts.append(rod(material, inner, outer, b.wheel * radius))
    return parts


def _reflectors(b: Body) -> list[Shape]:
    """Number plates and rear lamps, which throw the beam straight back."""
    front = b.length / 2
    parts = [
        box("retroreflector", (-front, -0.28, 0.47), (-front + 0.06, 0.28, 0.62)),
        box("retroreflector", (front - 0.06, -0.28, 0.39), (front + 0.01, 0.28, 0.54)),
    ]
    for side in (1, -1):
        low, high = sorted((side * (b.width / 2 - 0.42), side * (b.width / 2 - 0.20)))
        parts.append(box("lamp", (front - 0.3, low, 0.52), (front - 0.05, high, 0.68)))
        low, high = sorted((side * (b.width / 2 - 0.34), side * (b.width / 2 - 0.12)))
        near, far = (-front - 0.008, low, b.boot - 0.28), (-front + 0.05, high, b.boot - 0.12)
        parts.append(box("lamp", near, far))
    return parts


@functools.cache
def vans() -> tuple[Shape, ...]:
    """Delivery vans: a short bonnet, a big closed box behind."""
    return tuple(_van(*size) for size in ((5.0, 1.9, 2.15, 0.9), (4.3, 1.8, 1.85, 0.8)))


def _van(length: float, width: float, height: float, bonnet: float) -> Shape:
    front, half = length / 2, width / 2
    foot = front - bonnet
    nose = solid(
        "paint",
        side=[(front - 0.1, 0.25), (front, 0.5), (front - 0.1, 0.95), (foot - 0.2, 1.2),
              (foot - 0.2, 0.25)],
        top=_plan(front, half - 0.01, 0.4, 0.12, 0.08, 0.04),
    )  # fmt: skip
    hull = solid(
        "paint",
        side=[(foot, 0.25), (foot, 1.15), (foot - 0.55, height - 0.05), (foot - 0.9, height),
              (-front + 0.05, height), (-front, 0.5), (-front + 0.1, 0.25)],
        top=_plan(front, half, 0.4, 0.12, 0.08, 0.04),
        front=[(-half + 0.06, 0.25), (-half, 0.6), (-half, 1.1), (-half + 0.14, height),
               (half - 0.14, height), (half, 1.1), (half, 0.6), (half - 0.06, 0.25)],
    )  # fmt: skip
    screen = solid(
        "pane",
        side=[(foot - 0.03, 1.2), (foot + 0.0, 1.2), (foot - 0.5, height - 0.12),
              (foot - 0.53, height - 0.12)],
        top=rectangle(foot - 1, foot + 1, -half + 0.2, half - 0.2),
    )  # fmt: skip
    body = Body(length, width, height, boot=1.0, wheel=0.33)
    panes = [
        box("pane", (foot - 1.25, y - 0.05, 1.15), (foot - 0.35, y + 0.05, height - 0.45))
        for y in (half - 0.04, 0.04 - half)
    ]
    return joined([nose, hull, screen, *panes, *_wheels(body), *_reflectors(body)])


@functools.cache
def trucks() -> tuple[Shape, ...]:
    """Lorries: a cab, a load box on a frame, wheels beneath."""
    return tuple(_truck(*size) for size in ((9.0, 2.5, 3.3), (6.8, 2.3, 2.9)))


def _truck(length: float, width: float, height: float) -> Shape:
    front, half, cab = length / 2, width / 2, 1.7
    parts = [
        box("paint", (front - cab, -half + 0.08, 0.5), (front, half - 0.08, height * 0.82)),
        box("pane", (front - 0.1, -half + 0.2, 1.6), (front + 0.01, half - 0.2, 2.3)),
        box("paint", (-front, -half, 1.0), (front - cab - 0.25, half, height)),
        box("metal", (-front + 0.2, -0.45, 0.6), (front - cab, 0.45, 1.0)),
        box("retroreflector", (-front - 0.01, -0.26, 0.8), (-front + 0.05, 0.26, 0.92)),
    ]
    for x in (front - 1.1, -front + 1.3, -front + 2.4):
        parts += [
            rod("rubber", (x, y - 0.14, 0.48), (x, y + 0.14, 0.48), 0.48)
            for y in (half - 0.1, 0.1 - half)
        ]
    return joined(parts)

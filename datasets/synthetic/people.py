"""Pedestrians in walking poses and cyclists on bicycles, built from convex parts.

They stand on z = 0 in a usual size and look along +x.
"""

import functools

import numpy as np

from kdbench.datasets.synthetic.shape import Shape, box, ellipsoid, joined, limb, rod, solid

POSES = 12


@functools.cache
def pedestrians() -> tuple[Shape, ...]:
    """Walking and standing people, some with a bag, a skirt or a coat."""
    rng = np.random.default_rng(1)
    return tuple(_walker(rng, phase) for phase in np.linspace(0, 2 * np.pi, POSES, endpoint=False))


def _walker(rng: np.random.Generator, phase: float) -> Shape:
    stride = rng.choice([0.08, 0.28, 0.40]) * np.sin(phase)
    hip, shoulder = 0.90, 1.42
    chest = solid(
        "cloth",
        side=[(-0.10, hip - 0.05), (0.10, hip - 0.05), (0.13, 1.25), (0.08, 1.48), (-0.09, 1.48),
              (-0.13, 1.25)],
        front=[(-0.17, hip - 0.05), (0.17, hip - 0.05), (0.22, 1.36), (0.10, 1.50), (-0.10, 1.50),
               (-0.22, 1.36)],
    )  # fmt: skip
    parts = [chest, ellipsoid("hair", (0.02, 0, 1.63), (0.10, 0.085, 0.13))]
    parts += [rod("skin", (0.0, 0, 1.46), (0.01, 0, 1.55), 0.06)]
    for side in (1, -1):
        knee = (side * stride * 0.55 + 0.04, side * 0.10, 0.48)
        foot = (side * stride - 0.04, side * 0.10, 0.07)
        parts += [
            limb("cloth", (0, side * 0.09, hip), knee, 0.105),
            limb("cloth", knee, foot, 0.08),
        ]
        parts += [ellipsoid("rubber", (foot[0] + 0.07, foot[1], 0.05), (0.14, 0.05, 0.05))]
        elbow = (-side * stride * 0.4 - 0.03, side * 0.27, 1.15)
        hand = (-side * stride * 0.8 + 0.10 * rng.random(), side * 0.26, 0.90)
        parts += [limb("cloth", (0, side * 0.21, shoulder), elbow, 0.068),
                  limb("cloth", elbow, hand, 0.055)]  # fmt: skip
    extra = rng.choice(["none", "none", "backpack", "bag", "coat"])
    if extra == "backpack":
        parts.append(box("cloth", (-0.30, -0.15, 1.0), (-0.10, 0.15, 1.42)))
    elif extra == "bag":
        parts.append(box("cloth", (-0.12, 0.27, 0.50), (0.22, 0.36, 0.85)))
    elif extra == "coat":
        parts.append(rod("cloth", (0, 0, 0.55), (0, 0, 1.0), 0.17))
    return joined(parts)


@functools.cache
def cyclists() -> tuple[Shape, ...]:
    """Riders on bicycles, at several angles of the pedals."""
    return tuple(
        joined([bicycle(), *_rider(angle, lean)])
        for angle in np.linspace(0, np.pi, 4, endpoint=False)
        for lean in (0.10, 0.32)
    )


@functools.cache
def bicycle() -> Shape:
    """A bicycle without its rider, 1.75 m long."""
    rear, front, crank = (-0.52, 0, 0.34), (0.53, 0, 0.34), (-0.08, 0, 0.30)
    saddle, head, bar = (-0.30, 0, 0.92), (0.36, 0, 0.85), (0.32, 0, 1.02)
    tubes = [(rear, crank), (rear, saddle), (crank, saddle), (crank, head), (saddle, head),
             (head, front), (head, bar)]  # fmt: skip
    parts = [rod("metal", a, b, 0.03) for a, b in tubes]
    for axle in (rear, front):
        x, _, z = axle
        parts.append(rod("spokes", (x, -0.025, z), (x, 0.025, z), 0.34))
    parts.append(rod("metal", (0.30, -0.28, 1.04), (0.30, 0.28, 1.04), 0.02))
    parts.append(ellipsoid("rubber", (-0.32, 0, 0.95), (0.13, 0.08, 0.04)))
    parts.append(box("metal", (-0.80, -0.09, 0.70), (-0.35, 0.09, 0.78)))  # carrier and mudguard
    parts.append(box("retroreflector", (-0.88, -0.04, 0.60), (-0.84, 0.04, 0.68)))
    return joined(parts)


def _rider(angle: float, lean: float) -> list[Shape]:
    hip = np.array([-0.30, 0, 1.02])
    shoulder = hip + np.array([0.52 * np.sin(lean), 0, 0.52 * np.cos(lean)])
    head = shoulder + np.array([0.08 + 0.1 * np.sin(lean), 0, 0.22])
    parts = [
        _torso(hip, shoulder),
        ellipsoid("hair", head, (0.11, 0.09, 0.13)),
    ]
    for side in (1, -1):
        pedal = np.array([-0.08, side * 0.12, 0.30])
        pedal += 0.17 * np.array([np.sin(angle), 0, np.cos(angle)]) * side
        knee = (hip + pedal) / 2 + np.array([0.24, side * 0.03, 0.06])
        parts += [limb("cloth", hip + (0, side * 0.09, 0), knee, 0.105)]
        parts += [limb("cloth", knee, pedal, 0.085)]
        parts += [ellipsoid("rubber", pedal + (0.06, 0, -0.02), (0.13, 0.05, 0.05))]
        elbow = (shoulder + (0.31, 0, 1.05)) / 2 + np.array([-0.05, side * 0.24, -0.06])
        parts += [limb("cloth", shoulder + (0, side * 0.20, -0.03), elbow, 0.075)]
        parts += [limb("skin", elbow, (0.31, side * 0.26, 1.06), 0.055)]
    return parts


def _torso(hip: np.ndarray, shoulder: np.ndarray) -> Shape:
    """A slab that leans with the back, wider at the shoulders."""
    deep = 0.15
    return solid(
        "cloth",
        side=[(hip[0] - deep, hip[2] - 0.08), (hip[0] + deep, hip[2] - 0.08),
              (shoulder[0] + deep, shoulder[2]), (shoulder[0] - deep + 0.03, shoulder[2] + 0.05)],
        front=[(-0.19, hip[2] - 0.08), (0.19, hip[2] - 0.08), (0.24, shoulder[2] - 0.05),
               (0.10, shoulder[2] + 0.06), (-0.10, shoulder[2] + 0.06),
               (-0.24, shoulder[2] - 0.05)],
    )  # fmt: skip

"""From crossings to returns: what the beam passes, where it ends and what comes back."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic import materials
from kdbench.datasets.synthetic.ground import Ground
from kdbench.datasets.synthetic.raycast import Crossings
from kdbench.datasets.synthetic.sensor import LONGEST, RANGE_NOISE, Rays

GROUND = -1  # owner of a ray that ends on the ground
NOTHING = -2  # owner of a ray that ends nowhere
HALF_SIGNAL = 0.0035  # signal at which a surface reads half its reflectance
LOST_SIGNAL = 0.0007  # signal at which 63 % of the rays come back
ROUGHNESS = {"asphalt": 0.005, "pavement": 0.008, "grass": 0.035}  # metres


@dataclass(frozen=True)
class Ends:
    """Where each of R rays ends."""

    distance: np.ndarray  # (R,) metres, inf where nowhere
    cosine: np.ndarray  # (R,)
    material: np.ndarray  # (R,) int
    tone: np.ndarray  # (R,) reflectance of toned materials
    owner: np.ndarray  # (R,) int: placed object, GROUND or NOTHING


def first_ends(rays: Rays, met: Crossings, solids, tones, ground: Ground, rng) -> Ends:
    """The first thing that stops each ray. `tones` (objects,) are the objects' own tones."""
    material, density = solids.material[met.part], solids.density[met.part]
    foliage = np.isfinite(density)
    # A ray comes a random way into foliage, and out of it on the far side if that way is long.
    into = rng.exponential(1.0, len(density)) / density
    enter = met.enter + into
    stops = np.where(
        foliage, enter < met.leave, rng.random(len(density)) >= materials.PASSING[material]
    )
    stops &= enter < 1.5 * LONGEST
    kept = np.flatnonzero(stops)
    ray, at = met.ray[kept], enter[kept]
    start = np.repeat(rays.start, len(rays.azimuth))
    floor, floor_cosine = ground.crossings(rays.direction, start, 1.5 * LONGEST)
    distance = floor.copy()
    np.minimum.at(distance, ray, at)
    won = kept[at == distance[ray]]
    ray = met.ray[won]

    x, y = (np.where(np.isfinite(floor), floor, 0) * rays.direction[:, k] for k in (0, 1))
    ends = Ends(
        distance=distance,
        cosine=floor_cosine,
        material=ground.material(x, y),
        tone=np.zeros(len(rays)),
        owner=np.where(np.isfinite(distance), GROUND, NOTHING),
    )
    ends.cosine[ray] = np.where(foliage[won], rng.uniform(0.3, 1, len(won)), met.cosine[won])
    ends.material[ray] = material[won]
    ends.owner[ray] = solids.object[met.part[won]]
    ends.tone[ray] = tones[ends.owner[ray]]
    return ends


def points(rays: Rays, ends: Ends, wetness: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """The returns (n, 4) float32 (x, y, z, reflectance) and the rays (n,) they belong to.

    `wetness` scales how much the road reflects in this frame.
    """
    count = len(rays)
    reflectance = materials.REFLECTANCE[ends.material]
    reflectance = np.where(materials.TONED[ends.material], ends.tone, reflectance)
    reflectance = np.where(ends.owner == GROUND, reflectance * wetness, reflectance)
    distance = np.where(np.isfinite(ends.distance), ends.distance, LONGEST)
    strength = np.maximum(ends.cosine, 0.01) / (distance / 10) ** 2
    seen = rng.random(count) < 1 - np.exp(-strength * (0.06 + reflectance) / LOST_SIGNAL / 0.3)
    seen &= rng.random(count) >= materials.LOST[ends.material]
    noisy = distance + rng.normal(0, RANGE_NOISE, count)
    for name, rough in ROUGHNESS.items():
        here = (ends.material == materials.INDEX[name]) & (ends.owner == GROUND)
        noisy[here] += rng.normal(0, rough, int(here.sum())) / np.maximum(ends.cosine[here], 0.3)
    seen &= np.isfinite(ends.distance) & (noisy < LONGEST) & (noisy > 2)

    gain = np.repeat(rays.gain, len(rays.azimuth))
    read = reflectance * strength / (strength + HALF_SIGNAL) * gain
    read += rng.normal(0, 1, count) * materials.SPREAD[ends.material] * (read > 0.02)
    read = np.clip(np.round(read, 2), 0, 0.99)
    ray = np.flatnonzero(seen)
    xyz = noisy[ray, None] * rays.direction[ray]
    xyz[:, 2] += np.repeat(rays.start, len(rays.azimuth))[ray]
    return np.column_stack([np.round(xyz, 3), read[ray]]).astype(np.float32), ray

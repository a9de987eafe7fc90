"""From crossings to returns: what the beam passes, where it ends and what comes back."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic import materials
from kdbench.datasets.synthetic.ground import Ground
from kdbench.datasets.synthetic.raycast import Crossings
from kdbench.datasets.synthetic.sensor import LONGEST, NEAREST, RANGE_NOISE, Rays

GROUND = -1  # owner of a ray that ends on the ground
NOTHING = -2  # owner of a ray that ends nowhere
# The reading falls with range and on grazed surfaces, and below a threshold it is 0: on KITTI a
# fifth of what stands 35 m away reads 0, and four fifths at 60 m.
FULL_RANGE = 15.0  # metres up to which the reading holds
FALL = 0.009  # of the reading for each metre beyond
GRAZING = 0.006  # of the reading, over the cosine
THRESHOLD = 0.08
EDGE = 0.15  # metres between neighbouring rays' ends that make an edge
TOUCHING = 0.25  # share of the beams past an edge that touch what is before it
FAINTEST = 0.004  # power that even a black surface sends back
NOISE_POWER = 4e-6  # power over squared metres at which 63 % of the rays come back


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
    floor, floor_cosine = ground.crossings(rays)
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


def spread_beams(rays: Rays, ends: Ends, rng) -> Ends:
    """The ends once more, for beams that are a few centimetres wide.

    Past an edge some beams still touch the nearer thing that their neighbour in azimuth ends at,
    and return from there.
    """
    shape = (len(rays.start), len(rays.azimuth))
    own = np.arange(len(rays)).reshape(shape)
    beside = np.where(rng.random(shape) < 0.5, np.roll(own, 1, axis=1), np.roll(own, -1, axis=1))
    beside[:, [0, -1]] = own[:, [0, -1]]  # the first and the last shot are no neighbours
    nearer = ends.distance[beside] < ends.distance[own] - EDGE
    taken = np.where(nearer & (rng.random(shape) < TOUCHING), beside, own).ravel()
    return Ends(*(getattr(ends, name)[taken] for name in Ends.__dataclass_fields__))


def points(rays: Rays, ends: Ends, brightness: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """The returns (n, 4) float32 (x, y, z, reflectance) and the rays (n,) they belong to.

    `brightness` scales how much the ground reflects in this frame.
    """
    ray = np.flatnonzero(np.isfinite(ends.distance))
    material, cosine = ends.material[ray], np.maximum(ends.cosine[ray], 0.01)
    distance, on_ground = ends.distance[ray], ends.owner[ray] == GROUND
    reflectance = np.where(
        materials.TONED[material], ends.tone[ray], materials.REFLECTANCE[material]
    ) * np.where(on_ground, brightness, 1.0)

    gloss = materials.GLOSS[material]
    power = (FAINTEST + reflectance) * cosine ** (1 + gloss) / distance**2
    seen = rng.random(len(ray)) < 1 - np.exp(-power / NOISE_POWER)
    seen &= rng.random(len(ray)) >= materials.LOST[material]
    rough = np.where(on_ground, materials.ROUGHNESS[material], 0) / np.maximum(cosine, 0.3)
    noise = np.hypot(RANGE_NOISE, rough)
    noisy = distance + noise * rng.normal(0, 1, len(ray))
    seen &= (noisy < LONGEST) & (noisy > NEAREST)

    read = reflectance * np.repeat(rays.gain, len(rays.azimuth))[ray]
    read *= 1 - gloss * 0.8 * (1 - cosine)
    read -= FALL * np.maximum(distance - FULL_RANGE, 0) + GRAZING / np.maximum(cosine, 0.03)
    read += rng.normal(0, 1, len(ray)) * materials.SPREAD[material]
    read = np.where(read < THRESHOLD, 0, np.minimum(np.round(read, 2), 0.99))

    ray, noisy, read = ray[seen], noisy[seen], read[seen]
    xyz = noisy[:, None] * rays.direction[ray]
    xyz[:, 2] += np.repeat(rays.start, len(rays.azimuth))[ray]
    return np.column_stack([np.round(xyz, 3), read]).astype(np.float32), ray

"""Exact first and last crossings of rays with convex parts, all pairs of a frame at once.

A part is first tried only on the rays inside its window: the azimuths and elevations that its
bounding box spans, as seen from the sensor. A ray crosses a convex part in one interval, the
intersection of its intervals with the part's planes and quadric.
"""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic.sensor import Rays
from kdbench.datasets.synthetic.shape import Solids

MARGIN = np.radians(0.1)  # of a window, for the rays' jitter


@dataclass(frozen=True)
class Crossings:
    """Where rays go through parts; one row a ray and part that meet, in no order."""

    ray: np.ndarray  # (k,) int
    part: np.ndarray  # (k,) int
    enter: np.ndarray  # (k,) metres along the ray
    leave: np.ndarray  # (k,)
    cosine: np.ndarray  # (k,) of the angle between the ray and the surface's normal, 0..1


def crossings(rays: Rays, solids: Solids) -> Crossings:
    """Every crossing of `rays` with `solids` that begins in front of the sensor."""
    # Parts of many planes come first, so that the k-th plane concerns a leading slice of pairs;
    # parts with a quadric have the fewest planes and so come last.
    planes_used = np.any(solids.planes[..., :3] != 0, axis=2).sum(axis=1)
    order = np.argsort(-planes_used, kind="stable")
    first_beam, beams, first_azimuth, azimuths = windows(rays, solids, order)
    pairs = beams * azimuths
    part, ray, start = _pairs(first_beam, first_azimuth, azimuths, pairs, len(rays.azimuth), rays)
    direction = np.ascontiguousarray(rays.direction[ray].T)

    enter, leave = np.zeros(len(ray)), np.full(len(ray), np.inf)
    cosine = np.zeros(len(ray))
    most = int(planes_used.max(initial=0))
    planes = solids.planes[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        for k in range(most):
            count = int((planes_used > k).sum())
            used = int(pairs[:count].sum())
            _clip_by_plane(
                np.repeat(planes[:count, k].T, pairs[:count], axis=1),
                direction[:, :used], start[:used], enter[:used], leave[:used], cosine[:used],
            )  # fmt: skip
        curved = np.any(solids.quadric[order] != 0, axis=(1, 2))
        tail = int(np.argmax(curved)) if curved.any() else len(order)
        used = int(pairs[:tail].sum())
        _clip_by_quadric(
            solids.quadric[order[tail:]], solids.centre[order[tail:]], pairs[tail:],
            direction[:, used:], start[used:], enter[used:], leave[used:], cosine[used:],
        )  # fmt: skip
    met = np.flatnonzero((enter < leave) & (enter > 0))
    return Crossings(ray[met], order[part[met]], enter[met], leave[met], cosine[met])


def windows(rays: Rays, solids: Solids, order: np.ndarray) -> tuple[np.ndarray, ...]:
    """First beam, beams, first azimuth, azimuths that each part's box may cover, (P,) each."""
    centre, half = solids.box_centre[order], solids.box_half[order]
    cos, sin = np.cos(solids.yaw[order]), np.sin(solids.yaw[order])
    # The sensor's axis in the box's own frame, and from it the nearest and farthest distance.
    own = np.stack([cos * centre[:, 0] + sin * centre[:, 1],
                    cos * centre[:, 1] - sin * centre[:, 0]], axis=1)  # fmt: skip
    near = np.linalg.norm(np.maximum(np.abs(own) - half[:, :2], 0), axis=1)
    far = np.linalg.norm(np.abs(own) + half[:, :2], axis=1)
    top = centre[:, 2] + half[:, 2] - rays.start.min()
    bottom = centre[:, 2] - half[:, 2] - rays.start.max()
    highest = np.arctan2(top, np.where(top > 0, near, far)) + MARGIN
    lowest = np.arctan2(bottom, np.where(bottom < 0, near, far)) - MARGIN
    bearing = np.arctan2(centre[:, 1], centre[:, 0])
    corners = np.stack([own[:, 0, None] + half[:, 0, None] * np.array([1, 1, -1, -1]),
                        own[:, 1, None] + half[:, 1, None] * np.array([1, -1, 1, -1])])  # fmt: skip
    middle = np.arctan2(own[:, 1], own[:, 0])[:, None]
    spread = np.arctan2(corners[1], corners[0]) - middle
    spread = (spread + np.pi) % (2 * np.pi) - np.pi
    around = near == 0  # the sensor stands over the box: every azimuth
    left = np.where(around, np.pi, bearing + spread.max(axis=1)) + MARGIN
    right = np.where(around, -np.pi, bearing + spread.min(axis=1)) - MARGIN
    first_beam = np.searchsorted(-rays.elevation, -highest)
    beams = np.searchsorted(-rays.elevation, -lowest, side="right") - first_beam
    first_azimuth = np.searchsorted(rays.azimuth, right)
    azimuths = np.searchsorted(rays.azimuth, left, side="right") - first_azimuth
    return first_beam, np.maximum(beams, 0), first_azimuth, np.maximum(azimuths, 0)


def _pairs(first_beam, first_azimuth, azimuths, pairs, width: int, rays: Rays):
    """Part, ray and the ray's starting height of each pair, part by part."""
    part = np.repeat(np.arange(len(pairs)), pairs)
    within = np.arange(len(part)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    row, column = np.divmod(within, np.repeat(azimuths, pairs))
    beam = np.repeat(first_beam, pairs) + row
    return part, beam * width + np.repeat(first_azimuth, pairs) + column, rays.start[beam]


def _clip_by_plane(plane, direction, start, enter, leave, cosine) -> None:
    """Cuts the intervals by one plane a pair, in place."""
    slope = plane[0] * direction[0] + plane[1] * direction[1] + plane[2] * direction[2]
    at = -(plane[3] + plane[2] * start) / slope  # +-inf where the ray runs along the plane
    inward = slope < 0
    np.fmin(leave, np.where(inward, np.inf, at), out=leave)
    later = inward & (at > enter)
    np.copyto(enter, at, where=later)
    np.copyto(cosine, -slope, where=later)


def _clip_by_quadric(quadric, centre, pairs, direction, start, enter, leave, cosine) -> None:
    """Cuts the intervals by the quadric of each pair's part, in place."""
    if not len(start):
        return
    # In the quadric's own space it is the unit sphere (or the unit cylinder), and the ray's
    # point nearest to its centre tells the rest without loss of digits.
    matrix = np.repeat(quadric.reshape(-1, 9).T, pairs, axis=1).reshape(3, 3, -1)
    origin = np.repeat(-np.einsum("pij,pj->pi", quadric, centre).T, pairs, axis=1)
    origin += matrix[:, 2] * start
    along = matrix[:, 0] * direction[0] + matrix[:, 1] * direction[1] + matrix[:, 2] * direction[2]
    speed = (along * along).sum(axis=0)
    nearest = -(origin * along).sum(axis=0) / speed
    gap = origin + nearest * along
    half = np.sqrt((1 - (gap * gap).sum(axis=0)) / speed)  # NaN where the ray passes by
    half[np.isnan(half)] = -np.inf
    at = nearest - half
    later = at > enter
    np.copyto(enter, at, where=later)
    np.minimum(leave, nearest + half, out=leave)
    hit = np.flatnonzero(later & (enter < leave))
    surface = origin[:, hit] + at[hit] * along[:, hit]
    normal = (matrix[:, :, hit] * surface[:, None]).sum(axis=0)
    slope = (normal * direction[:, hit]).sum(axis=0)
    cosine[hit] = np.abs(slope) / np.linalg.norm(normal, axis=0)

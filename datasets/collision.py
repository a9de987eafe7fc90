"""Do boxes stand in each other's way, seen from above?

Two rotated rectangles are apart when along one of their four side directions their shadows do
not overlap (the separating axis theorem). Boxes that only touch do not collide.
"""

import math

import numpy as np
from numba import njit


def free_of_collision(candidates: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which candidates (k, 7) can be placed, one after the other: (k,) bool.

    One can be when it collides with none of `others` (m, 7) and no candidate placed before it.
    """
    placed = np.zeros(len(candidates), np.bool_)
    _place(candidates.astype(np.float64), others.astype(np.float64), placed)
    return placed


@njit(cache=True, nogil=True)
def _place(candidates, others, placed):
    for k in range(len(candidates)):
        free = not collides_with_any(candidates[k], others, -1)
        for j in range(k):
            if free and placed[j] and collide(candidates[k], candidates[j]):
                free = False
        placed[k] = free


@njit(cache=True, nogil=True)
def collides_with_any(box, others, skip):
    """Does `box` (7,) collide with one of `others` (m, 7), that at index `skip` left out?"""
    for m in range(len(others)):  # noqa: SIM110 - numba compiles no generator expressions
        if m != skip and collide(box, others[m]):
            return True
    return False


@njit(cache=True, nogil=True)
def collide(a, b):
    """Do the boxes `a` and `b` (7,) share an area, seen from above?"""
    distance = math.hypot(a[0] - b[0], a[1] - b[1])
    if distance >= (math.hypot(a[3], a[4]) + math.hypot(b[3], b[4])) / 2:
        return False  # even their circumscribed circles are apart; this settles nearly all pairs
    return not (_apart_along_sides_of(a, b) or _apart_along_sides_of(b, a))


@njit(cache=True, nogil=True)
def _apart_along_sides_of(a, b):
    cos, sin = math.cos(a[6]), math.sin(a[6])
    dx, dy = b[0] - a[0], b[1] - a[1]
    along, across = abs(dx * cos + dy * sin), abs(dy * cos - dx * sin)
    turn_cos, turn_sin = abs(math.cos(b[6] - a[6])), abs(math.sin(b[6] - a[6]))
    # Half the shadow of b on the length and on the width axis of a.
    half_along = (b[3] * turn_cos + b[4] * turn_sin) / 2
    half_across = (b[3] * turn_sin + b[4] * turn_cos) / 2
    return along >= a[3] / 2 + half_along or across >= a[4] / 2 + half_across

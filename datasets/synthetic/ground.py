"""The road and the land beside it: an analytic height field, and rays against it."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic.materials import INDEX

STEPS = 4  # fixed-point steps of a ray; bumps are shallow, so each gains about a digit


@dataclass(frozen=True)
class Axis:
    """The middle of a street: y = offset + slope x + bend x^2 / 2, in metres."""

    offset: float
    slope: float
    bend: float

    def y(self, x):
        """y of the axis at x."""
        return self.offset + self.slope * x + self.bend / 2 * x * x

    def heading(self, x):
        """Direction of the street at x, radians."""
        return np.arctan(self.slope + self.bend * x)


@dataclass(frozen=True)
class Ground:
    """z(x, y) in metres: a tilted plane, a bend along x, shallow waves, and kerbs.

    Beyond the kerbs, to both sides of the axis, the ground is `kerb` higher than the road.
    """

    height: float  # at the origin
    slope: np.ndarray  # (2,) along x and y
    bend: float  # 1/m; the road rises or falls by bend x^2 / 2
    amplitude: np.ndarray  # (W,) metres
    wave: np.ndarray  # (W, 2) radians a metre
    phase: np.ndarray  # (W,)
    axis: Axis
    half_width: tuple[float, float]  # of the road to the right and left of its axis, to the kerb
    kerb: float  # height in metres
    walkway: float  # width of the pavement beyond the kerbs
    beyond: str  # material beyond the pavement

    def at(self, x, y):
        """Height of the ground at places of any one shape."""
        return self._road(x, y) + self.kerb * (self.beside(x, y) > 0)

    def beside(self, x, y):
        """How far places are beyond the nearer kerb, metres; negative on the road."""
        aside = y - self.axis.y(x)
        return np.maximum(-aside - self.half_width[0], aside - self.half_width[1])

    def material(self, x, y):
        """Index of the material at places."""
        beyond = self.beside(x, y)
        return np.where(
            beyond < 0,
            INDEX["asphalt"],
            np.where(beyond < self.walkway, INDEX["pavement"], INDEX[self.beyond]),
        )

    def crossings(self, direction, start, longest: float) -> tuple[np.ndarray, np.ndarray]:
        """Where rays (R, 3) from (0, 0, start) meet the ground.

        Returns the distance (R,) in metres, inf where there is none within `longest`, and the
        cosine (R,) of the angle to the normal.
        """
        # The raised land and the road are one field at two heights. A ray that is over the road
        # where it meets the upper one goes on to the lower one, or to the kerb on its way.
        upper = self._meets(direction, start - self.kerb, longest)
        lower = self._meets(direction, start, longest)
        beyond_upper, beyond_lower = (
            self.beside(t * direction[:, 0], t * direction[:, 1]) for t in (upper, lower)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            share = beyond_upper / (beyond_upper - beyond_lower)
        face = upper + np.clip(share, 0, 1) * (lower - upper)
        distance = np.where(beyond_upper > 0, upper, np.where(beyond_lower > 0, face, lower))
        normal = np.array([-self.slope[0], -self.slope[1], 1.0])
        cosine = np.abs(direction @ normal) / np.linalg.norm(normal)
        at_kerb = (beyond_upper <= 0) & (beyond_lower > 0)
        cosine = np.where(at_kerb, np.maximum(np.abs(direction[:, 1]), 0.1), cosine)
        return np.where((distance > 0) & (distance < longest), distance, np.inf), cosine

    def _road(self, x, y):
        plane = self.height + self.slope[0] * x + self.slope[1] * y
        return plane + self.bend / 2 * x * x + self._waves(x, y)

    def _waves(self, x, y):
        z = np.zeros(np.shape(x))
        for amplitude, (u, v), phase in zip(self.amplitude, self.wave, self.phase, strict=True):
            z += amplitude * np.sin(u * x + v * y + phase)
        return z

    def _meets(self, direction, start, longest: float) -> np.ndarray:
        """Distance (R,) to the road's field without kerbs; 2 `longest` stands for none."""
        fall = self.slope[0] * direction[:, 0] + self.slope[1] * direction[:, 1] - direction[:, 2]
        drop = start - self.height
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(fall > 0, np.minimum(drop / fall, 2 * longest), 2 * longest)
        near = np.flatnonzero(distance < 1.5 * longest)
        way, drop, fall = direction[near], drop[near], fall[near]
        flat = distance[near]
        for _ in range(STEPS):
            x, y = flat * way[:, 0], flat * way[:, 1]
            flat = np.clip(
                (drop - self.bend / 2 * x * x - self._waves(x, y)) / fall, 0, 2 * longest
            )
        distance[near] = flat
        return distance


def rolling(rng: np.random.Generator, **street) -> Ground:
    """A ground drawn anew: tilts as measured on KITTI's roads, bumps of centimetres."""
    waves = 3
    length = rng.uniform(15, 50, waves)
    heading = rng.uniform(0, np.pi, waves)
    return Ground(
        height=-1.72 + rng.normal(0, 0.03),
        slope=rng.normal([0.008, -0.006], [0.006, 0.014]),
        bend=rng.normal(0, 2.5e-4),
        amplitude=rng.uniform(0.0, 0.0010, waves) * length,
        wave=(2 * np.pi / length)[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1),
        phase=rng.uniform(0, 2 * np.pi, waves),
        **street,
    )

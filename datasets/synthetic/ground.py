"""The road and the land beside it: an analytic height field, and rays against it."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic.materials import INDEX
from kdbench.datasets.synthetic.sensor import Rays

# Rays meet the ground where it first rises to them, on profiles sampled along every second
# azimuth; samples lie 1.5 % apart and ground between them is taken as straight.
PROFILE = np.geomspace(3.0, 110.0, 240)  # metres
EVERY = 2  # azimuths


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
    """z(x, y) in metres: a tilted plane that bends along x, long shallow waves, and kerbs.

    Beyond the kerbs the ground is `kerb` higher, and past the pavement it rolls and rises.
    """

    height: float  # at the origin
    slope: np.ndarray  # (2,) along x and y
    bend: float  # 1/m; the road rises or falls by bend x^2 / 2
    amplitude: np.ndarray  # (W,) metres
    wave: np.ndarray  # (W, 2) radians a metre
    phase: np.ndarray  # (W,)
    rough: np.ndarray  # (W,) whether a wave is only there off the road
    axis: Axis
    half_width: tuple[float, float]  # of the road to the right and left of its axis, to the kerb
    kerb: float  # height in metres
    walkway: float  # width of the pavement beyond the kerbs
    bank: tuple[float, float]  # rise of the land past the pavement, right and left, metres a metre
    beyond: str  # material past the pavement

    def at(self, x, y):
        """Height of the ground at places of any one shape."""
        beside = self.beside(x, y)
        off_road = np.clip((beside - self.walkway) / 2, 0, 1)
        along, across = self.slope.tolist()
        z = self.height + along * x + across * y + self.bend / 2 * x * x
        z = z + self.kerb * (beside > 0)
        bank = np.where(y < self.axis.y(x), self.bank[0], self.bank[1])
        z = z + bank * np.clip(beside - self.walkway, 0, 12)
        numbers = zip(self.amplitude, *self.wave.T, self.phase, self.rough, strict=True)
        for amplitude, u, v, phase, rough in numbers:
            # Python's floats keep a float32 grid in float32, whose sines are much quicker.
            wave = float(amplitude) * np.sin(float(u) * x + float(v) * y + float(phase))
            z = z + (wave * off_road if rough else wave)
        return z

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

    def crossings(self, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
        """Where rays first meet the ground.

        Returns the distance (R,) in metres, inf where there is none within PROFILE, and the
        cosine (R,) of the angle to the normal.
        """
        flat = np.hypot(rays.direction[:, 0], rays.direction[:, 1])
        climb = (rays.direction[:, 2] / flat).reshape(len(rays.start), -1)
        across, steepness = np.empty_like(climb), np.empty_like(climb)
        azimuth = rays.azimuth[::EVERY, None].astype(np.float32)
        reach = PROFILE.astype(np.float32)
        heights = self.at(np.cos(azimuth) * reach, np.sin(azimuth) * reach)
        slopes = np.diff(heights, axis=1) / np.diff(PROFILE)
        for start in np.unique(rays.start):
            beams = rays.start == start
            across[beams], steepness[beams] = _first_rise(
                (heights - start) / PROFILE, slopes, climb[beams]
            )
        cosine = np.abs(climb - steepness) / np.sqrt((1 + steepness**2) * (1 + climb**2))
        return across.ravel() / flat, cosine.ravel()


def _first_rise(angles, slopes, climb) -> tuple[np.ndarray, np.ndarray]:
    """Where profiles first rise to the rays' slope, and how steep the ground is there.

    `angles` (C, S) is the slope of the line of sight to each sample, `climb` (B, A) that of each
    ray; column c serves rays EVERY c and on.
    """
    columns, samples = angles.shape
    horizon = np.maximum.accumulate(angles, axis=1)
    # One sorted search for all columns: each is lifted above the one before.
    lift = 10.0 * np.arange(columns)
    column = np.arange(climb.shape[1]) // EVERY
    found = np.searchsorted((horizon + lift[:, None]).ravel(), climb + lift[column])
    sample = found - column * samples
    missed = sample >= samples
    sample = np.clip(sample, 1, samples - 1)
    below, above = angles[column, sample - 1], angles[column, sample]
    share = np.clip((climb - below) / np.maximum(above - below, 1e-9), 0, 1)
    reach = PROFILE[sample - 1] + share * (PROFILE[sample] - PROFILE[sample - 1])
    return np.where(missed, np.inf, reach), slopes[column, sample - 1]


def rolling(rng: np.random.Generator, **street) -> Ground:
    """A ground drawn anew: tilts as measured on KITTI's roads, bumps of centimetres."""
    rough = np.array([False, False, False, True, True])
    length = np.where(rough, rng.uniform(3.5, 9, 5), rng.uniform(15, 50, 5))
    heading = rng.uniform(0, np.pi, 5)
    return Ground(
        height=float(-1.72 + rng.normal(0, 0.03)),
        slope=rng.normal([0.008, -0.006], [0.006, 0.014]),
        bend=float(rng.normal(0, 2.5e-4)),
        amplitude=length * np.where(rough, rng.uniform(0, 0.007, 5), rng.uniform(0, 0.001, 5)),
        wave=(2 * np.pi / length)[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1),
        phase=rng.uniform(0, 2 * np.pi, 5),
        rough=rough,
        bank=tuple(np.clip(rng.normal(0.005, 0.03, 2), -0.05, 0.10).tolist()),
        **street,
    )

"""The spinning 64-beam sensor: where its rays start and point."""

from dataclasses import dataclass

import numpy as np

LONGEST = 80.0  # metres; returns from farther away are not kept
NEAREST = 2.0  # metres
RANGE_NOISE = 0.02  # metres, standard deviation of one return

# An HDL-64E: two blocks of 32 lasers, the upper one nominally from +2 to -8.33 degrees in steps
# of a third, the lower one from -8.83 to -24.33 in steps of a half. No unit is exactly that:
# these are the angles of KITTI's, in degrees. The lasers that end below the camera's image
# (nominal angles) are listed for completeness only.
UPPER_BLOCK = (
    1.95, 1.59, 1.32, 0.88, 0.59, 0.19, -0.08, -0.44, -0.79, -1.19, -1.49, -1.83, -2.20, -2.54,
    -2.87, -3.23, -3.53, -3.93, -4.21, -4.58, -4.91, -5.25, -5.61, -5.96, -6.33, -6.68, -7.00,
    -7.29, -7.68, -8.07, -8.32, -8.72,
)  # fmt: skip
LOWER_BLOCK = (
    -9.00, -9.54, -10.03, -10.44, -10.93, -11.57, -12.09, -12.54, -13.02, -13.47, -14.03, -14.58,
    -15.18, -15.65, *np.arange(-16.2, -25.5, -0.52),
)  # fmt: skip
ELEVATION = np.radians(UPPER_BLOCK + LOWER_BLOCK)
# The lasers of a block seem to start on the vertical axis, this far above the frame's origin.
BLOCK_HEIGHT = np.repeat([0.20, 0.12], 32)  # metres

_unit = np.random.default_rng(64)  # one device: its quirks never change
AZIMUTH_OFFSET = np.radians(_unit.uniform(-0.04, 0.04, 64))
GAIN = np.clip(_unit.normal(1.03, 0.06, 64), 0.85, 1.2)
GAIN[[3, 4, 21, 29, 35, 36, 40, 42]] = 0.75, 0.75, 0.65, 0.75, 0.6, 0.3, 0.8, 0.4  # weak ones

STEP = np.radians(0.18)  # between two shots of a laser at 10 turns a second
HALF_STEP_EVERY = 9  # shots; the turn's clock and the packets' do not divide
HALF_VIEW = np.radians(42.0)  # a little more than the camera sees
LOWEST_SEEN = np.radians(-15.9)  # beams below this end under the camera's image


@dataclass(frozen=True)
class Rays:
    """The shots of one turn over the camera's view: B beams by A azimuths, row by row."""

    azimuth: np.ndarray  # (A,) radians, ascending
    elevation: np.ndarray  # (B,) radians, descending
    start: np.ndarray  # (B,) height of the rays' origin; they leave the z axis there, metres
    gain: np.ndarray  # (B,) sensitivity
    direction: np.ndarray  # (B * A, 3) unit vectors

    def __len__(self) -> int:
        return len(self.direction)


def rays(rng: np.random.Generator) -> Rays:
    """The rays of one turn; each turn starts at another phase and jitters a little."""
    seen = np.flatnonzero(ELEVATION > LOWEST_SEEN)
    steps = np.full(int(2 * HALF_VIEW / STEP * (1 + 0.5 / HALF_STEP_EVERY)) + 2, STEP)
    steps[int(rng.integers(HALF_STEP_EVERY)) :: HALF_STEP_EVERY] /= 2
    azimuth = -HALF_VIEW - rng.uniform(0, STEP) + np.cumsum(steps)
    shape = (len(seen), len(azimuth))
    turn = azimuth + AZIMUTH_OFFSET[seen, None] + rng.normal(0, np.radians(0.004), shape)
    tilt = ELEVATION[seen, None] + rng.normal(0, np.radians(0.004), shape)
    direction = np.stack(
        [np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)], axis=-1
    )
    return Rays(
        azimuth=azimuth,
        elevation=ELEVATION[seen],
        start=BLOCK_HEIGHT[seen],
        gain=GAIN[seen],
        direction=direction.reshape(-1, 3),
    )

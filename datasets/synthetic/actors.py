"""Who is on the street: objects of the labelled classes, drawn from KITTI's statistics."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.datasets.synthetic import people, vehicles
from kdbench.datasets.synthetic.fit_statistics import (
    BEARING_BIN,
    HEADING_BIN,
    RANGE_BIN,
    WIDEST,
    ZONES,
)
from kdbench.datasets.synthetic.footprint import overlaps
from kdbench.datasets.synthetic.ground import Ground
from kdbench.datasets.synthetic.shape import Placed, Shape

# Objects placed for one in KITTI. Some end up hidden and unlabelled, hence more than 1 for all;
# pedestrians and cyclists are made commoner than there (0.6 and 0.2 a frame), so that their AP
# can be measured on 150 frames.
RATE = {"Car": 1.45, "Van": 1.1, "Truck": 1.0, "Pedestrian": 2.2, "Cyclist": 4.5}
SHAPES = {
    "Car": vehicles.cars,
    "Van": vehicles.vans,
    "Truck": vehicles.trucks,
    "Pedestrian": people.pedestrians,
    "Cyclist": people.cyclists,
}
FILL = 0.975  # of a labelled box that the shape fills
SUNK, MISPLACED = 0.03, 0.05  # metres: annotators set boxes a little low, and a little off
NEARER = {"Pedestrian": 0.055}  # metres: and around a person's points, which lie on the near side
TRIES = 15
QUEUED = 0.25  # share of the cars that stand in a row with one drawn before
COMPANY = (
    0.45  # share of the pedestrians beside one drawn before: as in KITTI, 3 of 10 within 0.9 m
)
APART = {"Pedestrian": (0.02, 0.02)}  # metres between footprints; people come close
BEHIND = 0.15  # share of the objects drawn behind the frontage that are kept, in gaps of it
NEAREST = 2.5  # metres from the sensor to the nearest footprint's middle
CLEAR = (-2.0, 4.0, -1.1, 1.1)  # the recording car itself: x0, x1, y0, y1


@dataclass(frozen=True)
class Actor:
    """One labelled object and the shape that stands for it."""

    name: str
    box: np.ndarray  # (7,) LiDAR frame
    placed: Placed


@dataclass(frozen=True)
class Statistics:
    """The fitted numbers of one class; `fit_statistics.py` says what each is."""

    counts: np.ndarray  # (n,) probability of each number in a frame
    places: np.ndarray  # (ranges, bearings) probability
    headings: np.ndarray  # (5, headings) probability in each zone
    log_size: np.ndarray  # (3,) mean of log length, width, height
    log_spread: np.ndarray  # (3, 3) Cholesky factor of their covariance


@functools.cache
def statistics() -> dict[str, Statistics]:
    """The numbers of every class."""
    text = Path(__file__).with_name("statistics.json").read_text()
    return {name: _prepared(numbers) for name, numbers in json.loads(text)["classes"].items()}


def _prepared(numbers: dict) -> Statistics:
    counts, places, headings = (
        np.array(numbers[key], float) for key in ("counts", "places", "headings")
    )
    return Statistics(
        counts=counts / counts.sum(),
        places=places / places.sum(),
        headings=headings / headings.sum(axis=1, keepdims=True),
        log_size=np.array(numbers["log_size_mean"]),
        log_spread=np.linalg.cholesky(numbers["log_size_covariance"]),
    )


def draw(rng: np.random.Generator, ground: Ground, rows, set_back) -> list[Actor]:
    """The labelled objects of one frame.

    Vehicles keep to `rows`, lateral offsets from the street's axis in metres; most objects
    stand before the frontage, which begins `set_back` (right, left) metres beyond the kerbs.
    """
    actors: list[Actor] = []
    footprints = np.zeros((0, 5))
    for name in SHAPES:
        first, apart = len(footprints), APART.get(name, (0.3, 0.25))
        for _ in range(_count(rng, name)):
            for _ in range(TRIES):
                footprint, height = _footprint(rng, name, ground, rows)
                if name == "Car" and len(footprints) and rng.random() < QUEUED:
                    footprint[[0, 1, 4]] = _next_in_row(rng, footprints, footprint[2])
                if name == "Pedestrian" and len(footprints) > first and rng.random() < COMPANY:
                    footprint[[0, 1, 4]] = _beside(rng, footprints[first:])
                grown = footprint + np.array([0, 0, *apart, 0])
                behind = _behind(footprint, ground, set_back) and rng.random() >= BEHIND
                if not (behind or _on_recorder(footprint) or overlaps(grown, footprints).any()):
                    actors.append(_actor(rng, name, footprint, height, ground))
                    footprints = np.vstack([footprints, footprint])
                    break
    return actors


def _count(rng: np.random.Generator, name: str) -> int:
    """KITTI's distribution of the number in a frame, drawn `RATE` times and summed."""
    chances = statistics()[name].counts
    whole, part = divmod(RATE[name], 1)
    draws = rng.choice(len(chances), size=int(whole) + 1, p=chances)
    return int(draws[:-1].sum()) + int(rng.binomial(draws[-1], part))


def _footprint(rng, name: str, ground: Ground, rows) -> tuple[np.ndarray, float]:
    """x, y, length, width, yaw of an object, and its height."""
    numbers = statistics()[name]
    place = rng.choice(numbers.places.size, p=numbers.places.ravel())
    row, column = divmod(place, numbers.places.shape[1])
    distance = (row + rng.random()) * RANGE_BIN
    bearing = np.radians((column + rng.random()) * BEARING_BIN - WIDEST)
    x, y = distance * np.cos(bearing), distance * np.sin(bearing)
    headings = numbers.headings[np.digitize(y, ZONES)]
    heading = rng.choice(len(headings), p=headings)
    yaw = np.radians((heading + rng.uniform(-0.5, 0.5)) * HEADING_BIN)
    spread = np.clip(rng.normal(0, 1, 3), -2.5, 2.5)
    length, width, height = np.exp(numbers.log_size + numbers.log_spread @ spread)
    if name != "Pedestrian":
        y, yaw = _in_row(rng, x, y, yaw, ground, rows)
    return np.array([x, y, length, width, yaw]), height


def _in_row(rng, x: float, y: float, yaw: float, ground: Ground, rows) -> tuple[float, float]:
    """Vehicles that go along the street stand in its lanes and parking rows."""
    along = ground.axis.heading(x)
    across = (yaw - along + np.pi / 2) % np.pi - np.pi / 2
    if abs(across) > np.radians(20):
        return y, yaw
    aside = y - ground.axis.y(x)
    row = rows[np.argmin(np.abs(rows - aside))]
    if abs(row - aside) < 1.6:
        y = ground.axis.y(x) + row + rng.normal(0, 0.15)
    return y, yaw - across + rng.normal(0, np.radians(1.5))


def _next_in_row(rng, footprints: np.ndarray, length: float) -> np.ndarray:
    """x, y, yaw right before or behind a car that stands already (cars are drawn first)."""
    x, y, own, _, yaw = footprints[rng.integers(len(footprints))]
    way = rng.choice([-1, 1]) * ((own + length) / 2 + 0.9 + rng.exponential(1.2))
    turned = yaw + rng.normal(0, 0.02) + np.pi * (rng.random() < 0.15)
    return np.array([x + way * np.cos(yaw), y + way * np.sin(yaw) + rng.normal(0, 0.12), turned])


def _beside(rng, people: np.ndarray) -> np.ndarray:
    """x, y, yaw at the side of one of the people, who goes the same way."""
    x, y, _, _, yaw = people[rng.integers(len(people))]
    along, aside = rng.normal(0, 0.2), rng.choice([-1, 1]) * rng.uniform(0.6, 1.1)
    x += along * np.cos(yaw) - aside * np.sin(yaw)
    y += along * np.sin(yaw) + aside * np.cos(yaw)
    return np.array([x, y, yaw + rng.normal(0, 0.15)])


def _behind(footprint: np.ndarray, ground: Ground, set_back: tuple[float, float]) -> bool:
    x, y = footprint[:2]
    own = set_back[0] if y < ground.axis.y(x) else set_back[1]
    return bool(ground.beside(x, y) > own - footprint[3] / 2)


def _on_recorder(footprint: np.ndarray) -> bool:
    x, y, length, width = footprint[:4]
    reach = length / 2
    near = np.hypot(x, y) < NEAREST
    return near or (
        CLEAR[0] - reach < x < CLEAR[1] + reach and CLEAR[2] - width / 2 < y < CLEAR[3] + width / 2
    )


def _actor(rng, name: str, footprint: np.ndarray, height: float, ground: Ground) -> Actor:
    x, y, length, width, yaw = footprint
    z = float(ground.at(x, y))
    size = np.array([length, width, height])
    shape = _fitting(rng, SHAPES[name](), size)
    low, high = shape.bounds
    scale = np.clip(FILL * size / (high - low), 0.6, 1.4)
    middle = (low + high)[:2] / 2 * scale[:2]
    cos, sin = np.cos(yaw), np.sin(yaw)
    position = (x - cos * middle[0] + sin * middle[1], y - sin * middle[0] - cos * middle[1], z)
    placed = Placed(shape, position, yaw, tuple(scale), _tone(rng, name))
    near = -NEARER.get(name, 0.0) / np.hypot(x, y)
    off = rng.normal([near * x, near * y, -SUNK], MISPLACED)
    return Actor(name, np.array([*(np.array([x, y, z + height / 2]) + off), *size, yaw]), placed)


def _fitting(rng, shapes: tuple[Shape, ...], size: np.ndarray) -> Shape:
    """One of the four shapes that need the least stretching."""
    extent = np.array([np.subtract(*reversed(shape.bounds)) for shape in shapes])
    stretch = np.ptp(np.log(size / extent), axis=1)
    return shapes[rng.choice(np.argsort(stretch)[:4])]


def _tone(rng, name: str) -> float:
    """Reflectance of the paint or cloth: many cars are so dark that returns read 0."""
    if name in ("Pedestrian", "Cyclist"):
        return float(np.clip(rng.normal(0.42, 0.08), 0.1, 0.7))
    return float(np.clip(rng.normal(0.20, 0.14), 0.0, 0.5))

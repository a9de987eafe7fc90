"""One street: its ground, who is on it and what lines it."""

from dataclasses import dataclass

import numpy as np

from kdbench.datasets.synthetic import actors, surroundings
from kdbench.datasets.synthetic.actors import Actor
from kdbench.datasets.synthetic.footprint import bearings, overlaps
from kdbench.datasets.synthetic.ground import Axis, Ground, rolling
from kdbench.datasets.synthetic.people import bicycle
from kdbench.datasets.synthetic.shape import Placed, Shape


@dataclass(frozen=True)
class Style:
    """What a kind of street looks like; frontage kinds are drawn with these weights."""

    share: float  # of all frames
    road: tuple[float, float]  # half width in metres, from and to
    set_back: tuple[float, float]  # of the frontage behind the pavement, metres
    frontage: dict[str, float]
    clutter: float  # mean number of small things a frame
    trees: float  # mean number of trees along the kerbs
    gardens: float  # share of frontages with a hedge, wall or fence before them
    beyond: str = "grass"


STYLES = (
    Style(  # houses behind gardens
        0.40, (2.6, 4.0), (3, 9), {"house": 4, "building": 1, "woodland": 3, "gap": 2}, 12, 6, 0.6
    ),
    Style(  # a town's fronts
        0.30,
        (3, 5.5),
        (0.5, 4),
        {"building": 7, "house": 1, "woodland": 1, "gap": 2},
        15,
        3,
        0.1,
        "pavement",
    ),
    Style(  # a main road through green
        0.30, (3.5, 6.5), (4, 14), {"woodland": 5, "house": 1, "building": 1, "gap": 2}, 8, 5, 0.2
    ),
)
PARKING = 2.1  # metres, width of a parking lane
FARTHEST = 78.0  # metres along the street
GAPS = 0.12  # share of the pieces of a hedge, wall or fence that are not there
SPARED = 0.55  # share of labelled objects that a frontage must not stand before
# Small things a metre that stand against a frontage or in it, and how far from its face, metres.
# Without them a frontage ends as a ruler's edge does, and every corner looks like a person.
RAGGED, UNEVEN = 0.18, 0.35

# Small things beside the road, by how common they are. Two in five stand as tall and as wide as
# people: what a detector is to tell from them.
CLUTTER = {
    "bush": 18, "lamp": 10, "pole": 12, "poles": 12, "sign": 10, "bin": 8, "cabinet": 4,
    "bicycle": 5, "wall": 6, "rail": 5, "shrub": 13, "post": 16, "pillar": 5, "trunk": 9,
    "machine": 2, "board": 2, "motorcycle": 2,
}  # fmt: skip
SMALL = {
    "lamp": surroundings.lamp_post, "pole": surroundings.poles, "sign": surroundings.sign,
    "bin": surroundings.bin_, "cabinet": surroundings.cabinet, "bicycle": bicycle,
    "shrub": surroundings.shrubs, "post": surroundings.posts, "pillar": surroundings.pillar,
    "trunk": surroundings.trunks, "machine": surroundings.machine, "board": surroundings.board,
    "motorcycle": surroundings.motorcycle,
}  # fmt: skip
AGAINST = {
    "bush": 5, "shrub": 6, "trunk": 4, "post": 4, "pole": 2, "pillar": 3, "wall": 3, "lamp": 1,
    "bin": 2, "cabinet": 1, "bicycle": 1, "machine": 1,
}  # fmt: skip
REACH = {"bush": (1.5, 8), "wall": (2, 10), "rail": (0.3, 0.6)}  # metres beyond the kerb
SIZES = {"shrub": (0.5, 1.3), "pillar": (0.6, 1.35), "trunk": (0.7, 1.3)}  # from and to, each way


@dataclass(frozen=True)
class Street:
    """Everything one frame shows."""

    ground: Ground
    actors: list[Actor]
    scenery: list[Placed]


def lay_out(rng: np.random.Generator) -> Street:
    """A street drawn anew."""
    style = STYLES[rng.choice(len(STYLES), p=[s.share for s in STYLES])]
    ground, rows = _road(rng, style)
    set_back = ground.walkway + rng.uniform(*style.set_back, 2)  # right, left
    present = actors.draw(rng, ground, rows, set_back)
    builder = _Scenery(rng, style, ground, present, set_back)
    builder.line()
    return Street(ground, present, builder.placed)


def _road(rng: np.random.Generator, style: Style) -> tuple[Ground, np.ndarray]:
    """The ground, and the lateral offsets of lanes and parking rows from the street's axis."""
    half = float(rng.uniform(*style.road))
    parking = (rng.random(2) < 0.65).tolist()  # right, left
    axis = Axis(*rng.normal([half / 2, 0, 0], [0.3, 0.035, 6e-4]).tolist())
    ground = rolling(
        rng,
        axis=axis,
        half_width=(half + PARKING * parking[0], half + PARKING * parking[1]),
        kerb=float(rng.choice([0.0, 0.04, 0.10, 0.13])),
        walkway=rng.uniform(1.2, 3.0),
        beyond=style.beyond,
    )
    rows = [-half / 2, half / 2, -half - PARKING / 2, half + PARKING / 2]
    return ground, np.array(rows)


class _Scenery:
    """Puts unlabelled things where there is room for them."""

    def __init__(self, rng: np.random.Generator, style: Style, ground: Ground, present, set_back):
        self.rng, self.style, self.ground, self.set_back = rng, style, ground, set_back
        self.placed: list[Placed] = []
        boxes = np.array([a.box[[0, 1, 3, 4, 6]] for a in present]).reshape(-1, 5)
        self.taken = boxes + np.array([0, 0, 0.4, 0.4, 0])
        spared = boxes[rng.random(len(boxes)) < SPARED]
        self.spared = bearings(spared) if len(spared) else None

    def line(self) -> None:
        """Both sides, the far end, trees and clutter."""
        for side in (-1, 1):
            self._frontage(side)
            self._backdrop(side)
        self._end()
        for _ in range(self.rng.poisson(self.style.trees)):
            tree, scale = self._pick(surroundings.trees()), self._size(0.7, 1.3)
            self._beside(tree, (0.5, 0.5), scale, (0.6, 1.5))
        for _ in range(self.rng.poisson(self.style.clutter)):
            self._clutter()

    def _frontage(self, side: int) -> None:
        x = self.rng.uniform(-4, 4)
        base = self.set_back[0 if side < 0 else 1]
        while x < FARTHEST:
            length = self.rng.uniform(8, 20)
            aside = max(self.ground.walkway + 0.2, base + self.rng.normal(0, 0.7))
            kind = self._one_of(self.style.frontage)
            if kind != "gap":
                self._block(kind, side, x + length / 2, aside, length)
                self._ragged(side, x, x + length, aside)
            if self.rng.random() < self.style.gardens and aside > self.ground.walkway + 1.5:
                self._garden(side, x, x + length)
            x += length + (self.rng.uniform(0, 6) if self.rng.random() < 0.5 else 0)

    def _block(self, kind: str, side: int, x: float, aside: float, length: float) -> None:
        deep = self.rng.uniform(7, 12)
        if kind == "woodland":
            scale, deep = (length / 16, 1.0, self.rng.uniform(0.5, 1.1)), 3.0
            shape = self._pick(surroundings.woodlands())
        else:
            shape = surroundings.building() if kind == "building" else surroundings.house()
            scale = (length / 10, deep / 8, self.rng.uniform(0.7, 1.4))
        self._along(shape, side, x, aside + deep / 2, (length, deep), scale)

    def _garden(self, side: int, start: float, end: float) -> None:
        kind = self.rng.choice(["hedge", "wall", "fence"])
        aside = self.ground.walkway + 0.4
        unit = {"hedge": 4.0, "wall": 6.0, "fence": 3.0}[kind]
        height = self.rng.uniform(0.6, 1.3)
        for x in np.arange(start + unit / 2, end - unit / 2, unit):
            if self.rng.random() < GAPS:  # a gate, or where a hedge has died: an edge
                continue
            own = height * self.rng.uniform(0.75, 1.3)
            if kind == "wall":
                shape, scale = surroundings.plain_wall(), (unit, 0.25, own)
            else:
                hedge = self._pick(surroundings.hedges())
                shape = hedge if kind == "hedge" else surroundings.fence()
                scale = (1, self.rng.uniform(0.7, 1.6) if kind == "hedge" else 1, own)
            self._along(shape, side, x, aside + self.rng.normal(0, 0.1), (unit, 0.6), scale)
        self._ragged(side, start, end, aside)

    def _ragged(self, side: int, start: float, end: float, aside: float) -> None:
        """Small things against a frontage, its gates and its ends."""
        for _ in range(self.rng.poisson(RAGGED * (end - start))):
            shape, size, scale = self._thing(self._one_of(AGAINST))
            x, off = self.rng.uniform(start, end), self.rng.normal(-0.1, UNEVEN)
            self._along(shape, side, x, aside + off, size, scale)

    def _backdrop(self, side: int) -> None:
        """Whatever is seen through the gaps."""
        for x in np.arange(10, FARTHEST, 18):
            if self.rng.random() < 0.7:
                kind = self.rng.choice(["woodland", "building", "house"])
                self._block(kind, side, x, self.rng.uniform(22, 34), 16)

    def _end(self) -> None:
        """The street bends away somewhere: things stand across its far end."""
        if self.rng.random() < 0.25:
            return
        x = self.rng.uniform(45, 76)
        for y in np.arange(-24, 25, 16):
            wood = self._pick(surroundings.woodlands())
            shape = wood if self.rng.random() < 0.6 else surroundings.building()
            at = self.ground.axis.y(x) + y
            footprint = np.array([x, at, 8, 16, 0.0])
            self._put(shape, footprint, np.pi / 2, (1, 1, self.rng.uniform(0.6, 1.2)))

    def _clutter(self) -> None:
        kind = self._one_of(CLUTTER)
        if kind == "poles":
            self._row_of_poles()
        else:
            self._beside(*self._thing(kind), REACH.get(kind, (0.3, 4.0)))

    def _row_of_poles(self) -> None:
        """Equal ones along a kerb, as they keep cars off a pavement."""
        shape, size, scale = self._thing("pole")
        side, aside = self.rng.choice([-1, 1]), self.rng.uniform(0.2, 3.0)
        start, gap = self.rng.uniform(4, 40), self.rng.uniform(0.9, 2.6)
        for k in range(self.rng.integers(2, 8)):
            self._along(shape, side, start + k * gap, aside, size, scale)

    def _thing(self, kind: str) -> tuple[Shape, tuple, tuple]:
        """A small thing of a kind, the size of its footprint and its scale."""
        if kind == "bush":
            return self._pick(surroundings.bushes()), (1.6, 1.6), self._size(0.5, 1.4)
        if kind == "wall":
            scale = tuple(self.rng.uniform(0.4, 3, 3))
            return surroundings.plain_wall(), scale[:2], scale
        if kind == "rail":
            return surroundings.guardrail(), (12, 0.3), (1, 1, 1)
        made = SMALL[kind]()
        shape = self._pick(made) if isinstance(made, tuple) else made
        scale = self.rng.uniform(*(SIZES.get(kind, (0.85, 1.15))), 3)
        return shape, (0.5, 0.5), tuple(scale)

    def _beside(self, shape: Shape, size, scale, reach) -> None:
        """Somewhere off the road, `reach` metres beyond the kerb; `size` is its footprint."""
        side = self.rng.choice([-1, 1])
        x = 4 + 56 * self.rng.random() ** 0.7  # there is more room far away
        self._along(shape, side, x, self.rng.uniform(*reach), size, scale)

    def _along(self, shape, side: int, x: float, aside: float, size, scale) -> None:
        """`aside` metres beyond the kerb of a side, turned with the street."""
        width = self.ground.half_width[0 if side < 0 else 1]
        y = self.ground.axis.y(x) + side * (width + aside)
        yaw = float(self.ground.axis.heading(x))
        self._put(shape, np.array([x, y, *size, yaw]), yaw, scale)

    def _put(self, shape: Shape, footprint: np.ndarray, yaw: float, scale) -> None:
        """Places the shape unless something stands there or it would hide a spared object."""
        if overlaps(footprint, self.taken).any() or self._hides(footprint):
            return
        x, y = footprint[:2]
        tone = float(np.clip(self.rng.normal(0.38, 0.07), 0.1, 0.7))
        z = float(self.ground.at(x, y)) - 0.05
        self.placed.append(Placed(shape, (x, y, z), yaw, tuple(scale), tone))

    def _hides(self, footprint: np.ndarray) -> bool:
        if self.spared is None or max(footprint[2:4]) < 2:
            return False
        low, high, near = (v[0] for v in bearings(footprint[None]))
        first, last, distance = self.spared
        return bool(((first < high) & (last > low) & (distance > near)).any())

    def _one_of(self, shares: dict[str, float]) -> str:
        weights = np.array(list(shares.values()), float)
        return list(shares)[self.rng.choice(len(weights), p=weights / weights.sum())]

    def _pick(self, shapes):
        return shapes[self.rng.integers(len(shapes))]

    def _size(self, low: float, high: float) -> tuple[float, float, float]:
        return (self.rng.uniform(low, high),) * 3

"""From a cloud to a map of pillar features, the input of a BEV backbone."""

from dataclasses import dataclass

from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.detectors.layers.pillar_encoder import PillarEncoder, decorate
from kdbench.errors import UsageError
from kdbench.ops.scatter import rows_to_map
from kdbench.ops.voxelise import Grid, Pillars, pillarise
from kdbench.taps import Kind, Rows, TapSpec


@dataclass(frozen=True)
class PillarInputs:
    """A batch as pillars, with the decorated points that every network over them shares."""

    pillars: Pillars
    features: Tensor  # (n, 9)


def pillar_inputs(batch: Batch, grid: Grid, most: int = 0) -> PillarInputs:
    """The pillars of a batch; with `most` the first points of each alone."""
    pillars = pillarise(batch.points, grid, len(batch), most)
    return PillarInputs(pillars, decorate(pillars, grid))


def pillar_map(
    encoder: PillarEncoder, grid: Grid, inputs: PillarInputs
) -> tuple[Tensor, dict[str, Rows]]:
    """The map (B, C, H, W) of prepared pillars, and their taps."""
    pillars = inputs.pillars
    rows = encoder(inputs.features, pillars.counts)
    shape = (pillars.frames, grid.height, grid.width)
    taps = {"voxel": Rows(rows, pillars.coordinates, pillars.counts)}
    return rows_to_map(rows, pillars.coordinates, shape), taps


def pillar_tap_specs(grid: Grid, channels: int) -> dict[str, TapSpec]:
    """What the taps of `pillar_map` are."""
    return {"voxel": TapSpec(Kind.ROWS, channels, grid.cell[0], grid.point_range[:2])}


class PillarMap(nn.Module):
    """Encodes the pillars of `grid` and places them on a map.

    `most` is the cap on a pillar's points, `padding` that of `PillarEncoder`.
    """

    def __init__(self, grid: Grid, channels: int, momentum: float, most: int = 0, padding: int = 0):
        super().__init__()
        self.grid, self.channels, self.most = grid, channels, most
        self.encoder = PillarEncoder(channels, momentum, padding)

    @property
    def cell(self) -> float:
        """Metres a cell of the map."""
        return self.grid.cell[0]

    def tap_specs(self) -> dict[str, TapSpec]:
        """What the taps of `forward` are."""
        return pillar_tap_specs(self.grid, self.channels)

    def prepare(self, batch: Batch) -> PillarInputs:
        """The pillars of a batch."""
        return pillar_inputs(batch, self.grid, self.most)

    def forward(self, inputs: PillarInputs) -> tuple[Tensor, dict[str, Rows]]:
        """The map (B, C, H, W) of prepared pillars, and their taps."""
        return pillar_map(self.encoder, self.grid, inputs)


def check_grid(detector: str, grid: Grid, factor: int) -> None:
    """Raises UsageError unless `grid` has a multiple of `factor` pillars both ways."""
    if len(grid.point_range) != 6 or not grid.cell[0] > 0:
        raise UsageError(
            f"{detector}: point_range must be x0, y0, z0, x1, y1, z1 and pillar_size above 0"
        )
    extent = [grid.point_range[i + 3] - grid.point_range[i] for i in (0, 1)]
    exact = [metres / grid.cell[0] / factor for metres in extent]
    if any(abs(n - round(n)) > 1e-4 or round(n) < 1 for n in exact):
        raise UsageError(
            f"{detector}: the grid of {exact[0] * factor:g} x {exact[1] * factor:g} pillars must "
            f"be a multiple of {factor} both ways; change point_range or pillar_size"
        )

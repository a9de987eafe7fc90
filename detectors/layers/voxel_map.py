"""From a cloud to a map of voxel features, the input of a BEV backbone."""

from dataclasses import dataclass

from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.detectors.layers.sparse_encoder import STRIDE, SparseEncoder
from kdbench.errors import UsageError
from kdbench.ops.sparse import SparseTensor
from kdbench.ops.voxelise import Grid, Voxels, voxelise
from kdbench.taps import Kind, TapSpec

POINT_FEATURES = 4  # mean x, y, z and reflectance of a voxel's points
NO_GRAPH = "its sparse 3D convolutions are an operator of neither ONNX nor torch.export"
LEAST_DEPTH = 24  # voxels along z: of fewer the encoder leaves nothing


@dataclass(frozen=True)
class VoxelInputs:
    """A batch as voxels, which every network over them shares."""

    voxels: SparseTensor
    counts: Tensor  # (B, 1, H, W) float32: points over each cell of the map


class VoxelMap(nn.Module):
    """Encodes the voxels of `grid`, and lays what is left of z side by side on a map.

    `widths` and `out` are the channels of the `SparseEncoder`, `most` the cap on a voxel's points.
    """

    def __init__(self, grid: Grid, widths, out: int, momentum: float, most: int = 0):
        super().__init__()
        self.grid, self.most = grid, most
        # As published, one layer of cells more than the range has: 41, which ends as 2.
        self.shape = (grid.depth + 1, grid.height, grid.width)
        self.encoder = SparseEncoder(POINT_FEATURES, widths, out, momentum)
        self.depth, self.height, self.width = self.encoder.output_shape(self.shape)
        self.channels = out * self.depth

    @property
    def cell(self) -> float:
        """Metres a cell of the map."""
        return self.grid.cell[0] * STRIDE

    def tap_specs(self) -> dict[str, TapSpec]:
        """What the taps of `forward` are."""
        return {"counts": TapSpec(Kind.COUNTS, 1, self.cell, self.grid.point_range[:2])}

    def prepare(self, batch: Batch) -> VoxelInputs:
        """The voxels of a batch."""
        voxels = voxelise(batch.points, self.grid, len(batch), self.most)
        rows = SparseTensor(voxels.features, voxels.coordinates, self.shape, voxels.frames)
        return VoxelInputs(rows, self._counts(voxels))

    def _counts(self, voxels: Voxels) -> Tensor:
        frame, _, y, x = voxels.coordinates.unbind(1)
        place = (frame * self.height + y // STRIDE) * self.width + x // STRIDE
        counts = voxels.features.new_zeros(voxels.frames * self.height * self.width)
        counts.index_add_(0, place, voxels.counts.to(counts.dtype))
        return counts.view(voxels.frames, 1, self.height, self.width)

    def forward(self, inputs: VoxelInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The map (B, channels, H / 8, W / 8) of prepared voxels, and their taps."""
        return self.encoder(inputs.voxels), {"counts": inputs.counts}


def check_voxels(detector: str, grid: Grid, factor: int) -> None:
    """Raises UsageError unless `grid` has a multiple of `factor` voxels along x and y.

    Along z any number from LEAST_DEPTH on will do.
    """
    if len(grid.point_range) != 6 or len(grid.cell) != 3 or not min(grid.cell) > 0:
        raise UsageError(
            f"{detector}: point_range must be x0, y0, z0, x1, y1, z1 and voxel_size three lengths "
            "above 0"
        )
    cells = [(grid.point_range[i + 3] - grid.point_range[i]) / grid.cell[i] for i in range(3)]
    whole = [round(n) for n in cells]
    exact = all(abs(n - m) < 1e-3 for n, m in zip(cells, whole, strict=True))
    if not exact or any(n % factor or n < 1 for n in whole[:2]) or whole[2] < LEAST_DEPTH:
        raise UsageError(
            f"{detector}: the grid of {' x '.join(f'{n:g}' for n in cells)} voxels must be a "
            f"multiple of {factor} along x and y, and at least {LEAST_DEPTH} along z; change "
            "point_range or voxel_size"
        )

"""The sparse 3D encoder of SECOND: from voxels to a bird's-eye-view map an eighth of the size."""

import torch
from torch import Tensor, nn

from kdbench.detectors.layers.row_norm import RowNorm
from kdbench.ops.sparse import SparseConv3d, SparseTensor, SubMConv3d
from kdbench.ops.sparse_rules import Size, output_shape

STRIDE = 8  # voxels a cell of the map, along x and y
SUBMANIFOLD_LAYERS = (1, 2, 2, 2)  # of each stage, after its strided one; the first has none
PADDINGS = ((1, 1, 1), (1, 1, 1), (0, 1, 1))  # of the strided layers of stages 2 to 4


class SparseBlock(nn.Module):
    """A sparse convolution, batch norm over its rows, ReLU."""

    def __init__(self, conv: nn.Module, momentum: float):
        super().__init__()
        self.conv = conv
        self.norm = RowNorm(len(conv.weight), momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Rows of the convolution's cells."""
        x = self.conv(x)
        return x.with_features(torch.relu_(self.norm(x.features)))


class SparseEncoder(nn.Module):
    """An input layer, four stages at strides 1, 2, 4 and 8, and one that halves z alone.

    Yan et al., "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018, in the form of
    its KITTI configuration. `widths` are those of the four stages, `out` that of the last layer.
    """

    def __init__(self, inputs: int, widths, out: int, momentum: float):
        super().__init__()
        convs = [SubMConv3d(inputs, widths[0])]
        for i, (width, depth) in enumerate(zip(widths, SUBMANIFOLD_LAYERS, strict=True)):
            if i > 0:
                sizes = ((3, 3, 3), (2, 2, 2), PADDINGS[i - 1])
                convs.append(SparseConv3d(widths[i - 1], width, *sizes))
            convs += [SubMConv3d(width, width) for _ in range(depth)]
        convs.append(SparseConv3d(widths[-1], out, (3, 1, 1), (2, 1, 1), (0, 0, 0)))
        self.blocks = nn.ModuleList(SparseBlock(conv, momentum) for conv in convs)

    def output_shape(self, shape: Size) -> Size:
        """Cells along z, y and x that are left of a grid of `shape`."""
        for block in self.blocks:
            if isinstance(block.conv, SparseConv3d):
                shape = output_shape(shape, *block.conv.sizes)
        return shape

    def forward(self, x: SparseTensor) -> Tensor:
        """Voxels to a map (frames, out * cells along z, H / 8, W / 8), channels last."""
        first, *others = self.blocks
        with torch.autocast(x.features.device.type, enabled=False):
            x = first(x)  # metres need full precision
        for block in others:
            x = block(x)
        return x.bev()

"""Batch norm of voxels or points as rows, of which a batch may have few or none."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

EPS = 1e-3  # that of SECOND


def set_eps(module: nn.Module, eps: float) -> None:
    """Gives all batch norms of a module another epsilon."""
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eps = eps


class RowNorm(nn.BatchNorm1d):
    """Batch norm of rows (n, C), with an epsilon of EPS.

    Batch statistics need two rows; fewer are normalised by the running ones.
    """

    def __init__(self, channels: int, momentum: float):
        super().__init__(channels, eps=EPS, momentum=momentum)

    def forward(self, rows: Tensor) -> Tensor:
        """Normalised rows (n, C)."""
        if len(rows) > 1 or not self.training:
            return super().forward(rows)
        return F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

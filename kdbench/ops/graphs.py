"""Local graphs: rows, their neighbours, and a layer over the edges between them."""

import torch
from torch import Tensor, nn

from kdbench.ops.edges import Graph, edge_moments
from kdbench.ops.neighbours import nearest


@torch.no_grad()
def local_graphs(
    features: Tensor, score: Tensor, groups: tuple[Tensor, ...], n: int, k: int
) -> tuple[Tensor, Tensor, list[int]]:
    """In each group, the `n` rows of the highest score and their `k` nearest neighbours.

    `features` (r, C) are where the distance is taken, `score` is (r,), `groups` hold row indices.
    Returns centres (m,), neighbours (m, k) of the same group, nearest (itself) first, and the
    number of centres of each group.
    """
    centres, neighbours = [], []
    for rows in groups:
        top = rows[score[rows].topk(min(n, len(rows))).indices]
        centres.append(top)
        neighbours.append(rows[nearest(features[top], features[rows], k)])
    return torch.cat(centres), torch.cat(neighbours), [len(c) for c in centres]


class GraphLayer(nn.Module):
    """ReLU(BN(W [neighbour, centre])): W and BN act on rows before they make edges.

    W [a, b] = W1 a + W2 b, so each row is multiplied once, not once for every edge it is in. And
    BN is a scale and a shift of each channel, so that edge ij = ReLU(values[j] + own[i]).
    """

    def __init__(self, inputs: int, outputs: int, learned_scale: bool):
        super().__init__()
        self.neighbour = nn.Linear(inputs, outputs)
        self.centre = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs, affine=learned_scale)

    def forward(self, rows: Tensor, centre: Tensor, neighbours: Tensor) -> Tensor:
        """Rows (n, C), centres (m,) and neighbours (m, k) to edges (m, k, outputs)."""
        values, own = self.parts(rows, Graph(centre, neighbours, len(rows)))
        return torch.relu(values[neighbours] + own.unsqueeze(1))

    def parts(self, rows: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """`values` (n, outputs) and `own` (m, outputs), which make the edges, of rows (n, C)."""
        values, own = self.neighbour(rows), self.centre(rows[graph.centre])
        scale, shift = self._normalisation(values, own, graph)
        return values * scale, torch.addcmul(shift, own, scale)

    def _normalisation(self, values: Tensor, own: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """Scale and shift (outputs,) that `norm` would apply to all edges."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if self.training:
            mean, variance = edge_moments(values, own, graph)
            self._track(mean, variance, graph.neighbours.numel())
        scale = (variance + self.norm.eps).rsqrt()
        if self.norm.affine:
            scale = scale * self.norm.weight
        shift = -mean * scale
        return scale, shift + self.norm.bias if self.norm.affine else shift

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, edges: int) -> None:
        """Moves the running statistics as `nn.BatchNorm1d` does."""
        unbiased = variance * edges / max(edges - 1, 1)
        self.norm.num_batches_tracked += 1
        self.norm.running_mean.lerp_(mean, self.norm.momentum)
        self.norm.running_var.lerp_(unbiased, self.norm.momentum)

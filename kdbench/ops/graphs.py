"""Local graphs: rows, their neighbours, and a layer over the edges between them."""

import torch
from torch import Tensor, nn

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
    """ReLU(BN(W [neighbour, centre])): W acts on rows before they are gathered into edges.

    W [a, b] = W1 a + W2 b, so each row is multiplied once, not once for every edge it is in.
    """

    def __init__(self, inputs: int, outputs: int, learned_scale: bool):
        super().__init__()
        self.neighbour = nn.Linear(inputs, outputs)
        self.centre = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs, affine=learned_scale)

    def forward(self, rows: Tensor, centre: Tensor, neighbours: Tensor) -> Tensor:
        """Rows (n, C), centres (m,) and neighbours (m, k) to edges (m, k, outputs)."""
        edges = self.neighbour(rows)[neighbours] + self.centre(rows[centre]).unsqueeze(1)
        return torch.relu(self.norm(edges.flatten(0, 1))).view_as(edges)

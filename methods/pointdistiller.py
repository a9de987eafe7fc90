"""PointDistiller: local graphs of the most important voxels, reweighted by importance.

For the N voxels with the most points, take each one's K nearest neighbours in the teacher's
feature space (itself first). With z_i a voxel's features and z_ij its j-th neighbour's,

    e_ij = ReLU(BN(W [z_ij, z_i]))          a graph layer for the teacher, one for the student
    paper:     G_i = max_j e_ij
               loss = 2 sum_i phi_i mean_c (G_T,i - G_S,i)^2,      phi = softmax_i(count_i / tau)
    released:  loss = 2 mean_i,j,c  w_i (e_T,ij - e_S,ij)^2,       w = N softmax_i(count_i / 0.01)

`paper` works frame by frame. `released` does what the released code computes: it ranks and
looks for neighbours in the concatenated batch, caps counts at 32 points a pillar, and its
temperature leaves weight only on the voxels tied at the largest count.
"""

import torch
from torch import nn

from kdbench.method import Method, Paper
from kdbench.ops.neighbours import nearest

MAX_COUNT, RELEASED_TAU = 32, 0.01


class PointDistiller(Method):
    """Options: `variant`, `n` voxels, `k` neighbours, `tau`, `channels` and `weight`.

    `channels` are those of the graph layer; 0 is the student's width, the published choice.
    `n` is a frame's in `paper` and the batch's in `released`. `tau` counts in units of the
    frame's largest count, so that no weight exceeds another by more than exp(1 / tau).
    """

    name = "pointdistiller"
    needs = ("voxel",)
    paper = Paper(
        "PointDistiller: Structured Knowledge Distillation Towards Efficient and Compact 3D "
        "Detection",
        2023,
        "CVPR 2023, arXiv 2205.11098",
    )
    variants = ("paper", "released")
    zero_when_equal = True
    deviations = (
        "paper: the distance of eq. 2 is the mean squared error, times the factor 2 of the code",
        "paper: G_i is the maximum over neighbours, the code's choice for PointRCNN; the code "
        "does not pool for voxel detectors, the paper does not say",
        "paper: tau, which has no published value, is relative to the largest count",
        "paper: batch norm has no learned scale; with one, teacher and student layers can both "
        "shrink to zero, which minimises the loss and teaches nothing",
        "both: neighbours by teacher features, as in the code; the paper does not say",
    )

    def __init__(
        self, student, teacher, *,
        variant="paper", n=6000, k=128, tau=0.25, channels=0, weight=1.0,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.variant, self.n, self.k, self.tau, self.weight = variant, n, k, tau, weight
        width = channels or student["voxel"].channels
        learned_scale = variant == "released"
        self.student_graph = GraphLayer(student["voxel"].channels, width, learned_scale)
        self.teacher_graph = GraphLayer(teacher["voxel"].channels, width, learned_scale)

    def share_adapters(self):
        self.student_graph.load_state_dict(self.teacher_graph.state_dict())

    def forward(self, student, teacher, batch):
        rows_s, rows_t = student["voxel"], teacher["voxel"]
        if len(rows_t.counts) < 2:  # batch norm needs two rows
            return {"graph": rows_s.features.sum() * 0.0}
        released = self.variant == "released"
        frame = torch.zeros_like(rows_t.counts) if released else rows_t.coordinates[:, 0]
        counts = rows_t.counts.clamp(max=MAX_COUNT) if released else rows_t.counts
        centre, neighbours, weight = self._select(rows_t.features, counts, frame)
        edges_t = self.teacher_graph(rows_t.features, centre, neighbours)
        edges_s = self.student_graph(rows_s.features, centre, neighbours)
        self.logs["graph_std"] = edges_t.detach().std()  # falls to 0 if the layers collapse
        if not released:
            edges_t, edges_s = edges_t.amax(1), edges_s.amax(1)
        error = (edges_t - edges_s).square().flatten(1).mean(1)
        return {"graph": self.weight * 2 * (weight * error).sum()}

    @torch.no_grad()
    def _select(self, features, counts, frame):
        """Chosen rows (m,), their neighbours (m, k) and weights (m,), sum 1, over all frames."""
        parts = []
        for rows in _by_frame(frame):
            top = rows[counts[rows].topk(min(self.n, len(rows))).indices]
            near = rows[nearest(features[top], features[rows], self.k)]
            parts.append((top, near, self._importance(counts[top].float())))
        centre, neighbours, weight = (torch.cat(x) for x in zip(*parts, strict=True))
        return centre, neighbours, weight / len(parts)

    def _importance(self, counts):
        scale = RELEASED_TAU if self.variant == "released" else self.tau * counts.max()
        return torch.softmax(counts / scale, dim=0)


class GraphLayer(nn.Module):
    """ReLU(BN(W [neighbour, centre])): W acts on rows before they are gathered into edges.

    W [a, b] = W1 a + W2 b, so each row is multiplied once, not once for every edge it is in.
    """

    def __init__(self, inputs: int, outputs: int, learned_scale: bool):
        super().__init__()
        self.neighbour = nn.Linear(inputs, outputs)
        self.centre = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs, affine=learned_scale)

    def forward(self, rows, centre, neighbours):
        """Rows (n, C), centres (m,) and neighbours (m, k) to edges (m, k, outputs)."""
        edges = self.neighbour(rows)[neighbours] + self.centre(rows[centre]).unsqueeze(1)
        return torch.relu(self.norm(edges.flatten(0, 1))).view_as(edges)


def _by_frame(frame):
    """Row indices of each frame that has any."""
    return torch.arange(len(frame), device=frame.device).split(
        torch.unique_consecutive(frame, return_counts=True)[1].tolist()
    )

"""PointDistiller: local graphs of the most important voxels or points, reweighted by importance.

For the N rows of the highest score, take each one's K nearest neighbours in the teacher's
feature space (itself first). With z_i a row's features and z_ij its j-th neighbour's,

    e_ij = ReLU(BN(W [z_ij, z_i]))          a graph layer for the teacher, one for the student
    G_i  = max_j e_ij
    paper:     loss = 2 sum_i phi_i mean_c (G_T,i - G_S,i)^2
    released:  loss = 2 sum_i w_i mean_c,(j) (x_T,i - x_S,i)^2

rows                score of a row                  phi                     x, w (released)
voxels, pillars     points in it                    softmax(score / tau)    e, softmax(score/0.01)
cells of BEV maps   points over it (*)              softmax(score / tau)    e, 1/N of a frame
points              largest teacher feature         softmax(max_c G_T/tau)  G, 1/N of the batch

(*) `released` takes the largest teacher feature, and so does `paper` without a tap `counts`.

`paper` works frame by frame. `released` does what the released code computes: with voxels it
ranks and looks for neighbours in the concatenated batch, caps counts at 32 points, and its
temperature leaves weight only on the voxels tied at the largest count; with cells and points
its weights have no effect.

What is distilled is the published choice: pillars' features in PointPillars, maps of the backbone
where voxels are three-dimensional, points in PointRCNN. `tap=backbone.*` takes PointPillars' maps.
"""

from math import inf

import torch
from torch import nn

from kdbench.method import Method, Paper
from kdbench.ops.edges import Graph, edge_errors, first_edges, largest_edges
from kdbench.ops.graphs import GraphLayer, local_graphs
from kdbench.ops.rows import by_frame, cells_as_rows
from kdbench.taps import Kind, TapSpecs, choose, find

MAX_COUNT, RELEASED_TAU = 32, 0.01
PUBLISHED_N = 6000  # of a frame in the paper; in released voxels of a batch of six
RELEASED_BATCH = 6
MAP_CHANNELS = 32  # of the graph layers over maps, at every ratio


class PointDistiller(Method):
    """Options: `variant`, `tap`, `n` rows, or `cells` of each map, `k` neighbours, `tau`,
    `channels`, `weight`.

    `channels` are those of the graph layer; 0 is the published choice, 32 for maps, else the
    student's width. `n` and `cells` are a frame's (with released voxels, their mean over the
    batch); `n` 0 is the published 6,000, a batch's 6,000 with released voxels. `tau` is in units
    of the frame's highest score, so that no weight exceeds another by more than exp(1 / tau).
    """

    name = "pointdistiller"
    limits = {"n": (0, inf), "k": (1, inf)}
    needs = ("voxel|points|backbone.*",)
    paper = Paper(
        "PointDistiller: Structured Knowledge Distillation Towards Efficient and Compact 3D "
        "Detection",
        2023,
        "CVPR 2023, arXiv 2205.11098",
    )
    variants = ("paper", "released")
    neutral = {"tap": ""}
    zero_when_equal = True
    deviations = (
        "paper: the distance of eq. 2 is the mean squared error, times the factor 2 of the code",
        "paper: G_i is the maximum over neighbours, the code's choice for PointRCNN; the code "
        "does not pool for voxel detectors, the paper does not say",
        "paper: tau, which has no published value, is relative to the highest score",
        "paper: batch norm has no learned scale; with one, teacher and student layers can both "
        "shrink to zero, which minimises the loss and teaches nothing",
        "both: neighbours by teacher features, as in the code; the paper does not say",
    )

    def __init__(
        self, student, teacher, *,
        variant="paper", tap="", n=0, cells=256, k=128, tau=0.25, channels=0, weight=1.0,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.taps = chosen(tap, student) if tap else find(self.needs[0], student)
        self.kind = student[self.taps[0]].kind
        self.released, self.k, self.tau, self.weight = variant == "released", k, tau, weight
        mixed = self.released and self.kind is Kind.ROWS
        n = n or PUBLISHED_N // (RELEASED_BATCH if mixed else 1)
        self.n = cells if self.kind is Kind.BEV else n
        self.by_count = self.kind is Kind.ROWS or (
            self.kind is Kind.BEV and "counts" in student and not self.released
        )

        def layer(specs, tap):
            usual = MAP_CHANNELS if self.kind is Kind.BEV else student[tap].channels
            return GraphLayer(specs[tap].channels, channels or usual, self.released)

        self.student_graphs = nn.ModuleList(layer(student, tap) for tap in self.taps)
        self.teacher_graphs = nn.ModuleList(layer(teacher, tap) for tap in self.taps)

    def share_adapters(self):
        self.student_graphs.load_state_dict(self.teacher_graphs.state_dict())

    def forward(self, student, teacher, batch):
        self.logs.clear()
        total = 0.0
        graphs = zip(self.student_graphs, self.teacher_graphs, strict=True)
        for tap, layers in zip(self.taps, graphs, strict=True):
            rows = [self._rows(taps, tap) for taps in (student, teacher)]
            total = total + self._loss(*rows, *layers)
        return {"graph": self.weight * total}

    def _rows(self, taps, tap):
        if self.kind is not Kind.BEV:
            return taps[tap]
        return cells_as_rows(taps[tap], taps["counts"] if self.by_count else None)

    def _loss(self, rows_s, rows_t, graph_s, graph_t):
        if len(rows_t.features) < 2:  # batch norm needs two rows
            return rows_s.features.sum() * 0.0
        score = self._score(rows_t)
        graph, sizes = self._graph(rows_t, score)
        score = score[graph.centre].to(rows_t.features.dtype)
        parts_s = graph_s.parts(rows_s.features, graph)
        parts_t = graph_t.parts(rows_t.features, graph)
        if self.released and self.kind is not Kind.POINTS:
            self._watch(first_edges(*parts_t, graph))
            return self._edge_loss(parts_s, parts_t, graph, self._weight(score, None, sizes))
        of_s, of_t = (largest_edges(*parts, graph) for parts in (parts_s, parts_t))
        self._watch(of_t)
        error = (of_t - of_s).square().mean(1)
        return 2 * (self._weight(score, of_t.detach(), sizes) * error).sum()

    def _graph(self, rows, score):
        """The graph of the teacher's rows, and how many centres each frame has."""
        frame, n = rows.coordinates[:, 0], self.n
        groups = by_frame(frame)
        if self.released and self.kind is Kind.ROWS:
            groups, n = by_frame(torch.zeros_like(frame)), n * len(groups)
        centre, near, sizes = local_graphs(rows.features, score, groups, n, self.k)
        return Graph(centre, near, len(frame)), sizes

    def _watch(self, graph):
        spread = graph.detach().std()  # falls to 0 if the layers collapse
        self.logs["graph_std"] = torch.minimum(spread, self.logs.get("graph_std", spread))

    def _edge_loss(self, parts_s, parts_t, graph, weight):
        kept = weight.nonzero().squeeze(1)  # few, where the temperature leaves weight on few
        sides = ((values, own[kept]) for values, own in (parts_s, parts_t))
        return 2 * (weight[kept] * edge_errors(*sides, graph.neighbours[kept])).sum()

    def _score(self, rows):
        """(n,), what decides which rows are taken; the teacher's."""
        if not self.by_count:
            return rows.features.detach().amax(1)
        return rows.counts.clamp(max=MAX_COUNT) if self.released else rows.counts

    def _weight(self, score, graph, sizes):
        """Weights (m,) of centres, given their score and, with points, the teacher's graphs."""
        if not self.released:
            importance = graph.amax(1) if self.kind is Kind.POINTS else score
            parts = [self._softmax(part) for part in importance.split(sizes)]
            return torch.cat(parts) / len(sizes)
        if self.kind is Kind.ROWS:
            return torch.softmax(score / RELEASED_TAU, dim=0)
        frames = len(sizes) if self.kind is Kind.BEV else 1
        return torch.full_like(score, frames / len(score))

    def _softmax(self, importance):
        largest = importance.max().clamp_min(torch.finfo(importance.dtype).tiny)
        return torch.softmax(importance / (self.tau * largest), dim=0)


def chosen(pattern: str, specs: TapSpecs) -> list[str]:
    """Taps of rows, of points or of maps, all of one kind. Raises UsageError for others."""
    names = choose(pattern, specs, Kind.ROWS, Kind.POINTS, Kind.BEV)
    return choose(pattern, specs, specs[names[0]].kind)

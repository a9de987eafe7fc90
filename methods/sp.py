"""SP: what the teacher finds alike, the student finds alike.

    mean( (G_S - G_T)^2 ),   G = X X^T, each row divided by its norm

nodes:  X (N, C) are the features at N places of a frame; mean over frames
batch:  X (B, C * H * W) are the frames of a batch, as published

G has no channels, so nothing is adapted.
"""

from torch.nn import functional as F

from kdbench.errors import NotApplicable
from kdbench.method import Method, Paper
from kdbench.ops.adapters import features
from kdbench.ops.embeddings import draw_places, take
from kdbench.taps import Kind, choose


class SimilarityPreserving(Method):
    """Options: `variant`, `tap` (a pattern: which taps), `n` (places a frame), `weight`.

    `weight` 3000 is the paper's. It is for batches of a hundred images and more, and `n` is of
    that order; new places are drawn in each step.
    """

    name = "sp"
    needs = ("neck|points",)
    paper = Paper("Similarity-Preserving Knowledge Distillation", 2019, "ICCV 2019, 1907.09682")
    variants = ("nodes", "batch")
    zero_when_equal = True
    deviations = (
        "nodes: similarities between places of a frame: a detector's batch of few frames has "
        "few similarities, and what tells its frames apart is little",
        "nodes: places are drawn evenly; a full matrix over the positions of a map cannot be held",
        "both: the layer is the neck, the last map before the head, as the paper's is the last "
        "before the classifier",
    )

    def __init__(
        self, student, teacher, *, variant="nodes", tap="neck|points", n=512, weight=3000.0
    ):
        super().__init__(student, teacher)
        if variant == "batch" and all(spec.kind is not Kind.BEV for spec in student.values()):
            raise NotApplicable("variant batch of method 'sp' is not applicable: needs maps")
        kinds = (Kind.BEV, Kind.ROWS, Kind.POINTS) if variant == "nodes" else (Kind.BEV,)
        self.names = choose(tap, student, *kinds)
        self.variant, self.n, self.weight = variant, n, weight

    def forward(self, student, teacher, batch):
        loss = sum(self._difference(student[name], teacher[name]) for name in self.names)
        return {"similarity": self.weight * loss}

    def _difference(self, x_s, x_t):
        if self.variant == "batch":
            return F.mse_loss(similarity(x_s.flatten(1)), similarity(x_t.flatten(1)))
        places = draw_places(x_t, self.n)
        if not places:  # a cloud without rows
            return features(x_s).sum() * 0.0
        pairs = zip(take(x_s, places), take(x_t, places), strict=True)
        return sum(F.mse_loss(similarity(s), similarity(t)) for s, t in pairs) / len(places)


def similarity(x):
    """Dot products of rows (N, C) with each other, (N, N), rows of norm 1."""
    return F.normalize(x @ x.T, dim=1)

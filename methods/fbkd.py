"""FBKD: imitate attended features, the attention itself, and relations between places.

With A_S the student's map brought to the teacher's channels by a 1x1 adapter, A_T the teacher's,
and |.| the Euclidean norm over a frame:

    mask      | sqrt(M_p M_c) (A_S - A_T) |
    channel   | G_c(A_S) - G_c(A_T) |          G_c(A) (C):    mean over positions of |A|
    spatial   | G_p(A_S) - G_p(A_T) |          G_p(A) (H, W): mean over channels of |A|
    relation  | R(A_S) - R(A_T) |              R(X) = softmax(X X^T / sqrt C) X
    M_p = H W softmax_p( (G_p(A_S) + G_p(A_T)) / T ),   M_c = C softmax_c( the same of G_c )

R, a non-local block, is over N positions X (N, C) of each frame. All terms are means over frames.
"""

import torch
from torch.linalg import vector_norm

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.embeddings import draw_places, take


class FeatureBased(Method):
    """Options: weights `mask`, `channel`, `spatial`, `relation`; `temperature`; `n` positions.

    Weights and temperature are those of MMRazor's implementation.
    """

    name = "fbkd"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper(
        "Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and "
        "Efficient Detectors",
        2021,
        "ICLR 2021, OpenReview uKhGRvM8QNH",
    )
    zero_when_equal = True
    deviations = (
        "the non-local block has no learned parts: on the teacher's side they would be trained "
        "to make the relation easy to match",
        "relations between n positions drawn anew in each step: all of a map's do not fit",
        "one adapter for all terms; MMRazor's implementation has one for each",
        "masks are weights, without gradient: otherwise the student could lower the loss by "
        "looking away from where it is wrong",
        "norms are of each frame, so that they do not grow with the batch",
        "one map, the neck, for the levels of a feature pyramid",
    )

    def __init__(
        self, student, teacher, *,
        mask=7e-5, channel=4e-3, spatial=4e-3, relation=7e-5, temperature=0.5, n=1024,
        adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.weights = {"mask": mask, "channel": channel, "spatial": spatial, "relation": relation}
        self.temperature, self.n = temperature, n
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        s, t = self.adapter(student["neck"]), self.adapter.target(teacher["neck"])
        channel_s, channel_t = s.abs().mean((2, 3)), t.abs().mean((2, 3))
        spatial_s, spatial_t = s.abs().mean(1), t.abs().mean(1)
        mask_c = self._mask(channel_s + channel_t)[:, :, None, None]
        mask_p = self._mask(spatial_s + spatial_t)[:, None]
        places = draw_places(t, self.n)
        terms = {
            "mask": (mask_p * mask_c).sqrt() * (s - t),
            "channel": channel_s - channel_t,
            "spatial": spatial_s - spatial_t,
            "relation": non_local(take(s, places)) - non_local(take(t, places)),
        }
        return {
            name: self.weights[name] * vector_norm(x.flatten(1), dim=1).mean()
            for name, x in terms.items()
        }

    @torch.no_grad()
    def _mask(self, attention):
        """Softmax over all but the frames, with mean 1."""
        flat = attention.flatten(1)
        mask = flat.shape[1] * torch.softmax(flat / self.temperature, dim=1)
        return mask.view_as(attention)


def non_local(nodes):
    """Each node as the mean of all nodes of its frame (N, C), weighted by likeness; (B, N, C)."""
    x = torch.stack(nodes)
    likeness = x @ x.transpose(1, 2) / x.shape[2] ** 0.5
    return torch.softmax(likeness, dim=2) @ x

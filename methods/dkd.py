"""DKD: how sure the teacher is of its class, and what it thinks of the others, weighed apart.

    T^2 mean_i( alpha KL(b_T || b_S) + beta KL(q_T || q_S) )

For an anchor with target class c, p = softmax(z / T) over background and classes:
b = (p_c, 1 - p_c), and q = p without p_c, made to sum to 1. The background's logit is 0, so that
p_c / p_background = e^z, as a sigmoid head has it.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.scores import likely_anchors, with_background


class DecoupledDistillation(Method):
    """Options: `alpha` and `beta` (see above), `temperature`, `n` (anchors a frame), `weight`.

    1, 0.25 and 1 are the paper's for detectors; with 8 and 4 it classifies images.
    """

    name = "dkd"
    needs = ("head.cls",)
    paper = Paper("Decoupled Knowledge Distillation", 2022, "CVPR 2022, arXiv 2203.08679")
    zero_when_equal = True
    deviations = (
        "a softmax over background and classes: the heads have one sigmoid a class",
        "the target is the teacher's best class: labels say nothing of most anchors",
        "on the n anchors of a frame where the teacher most expects an object, as the paper does "
        "on proposals: elsewhere the target class would be noise. A number and not a threshold: "
        "an unsure teacher would leave none",
    )

    def __init__(
        self, student, teacher, *, alpha=1.0, beta=0.25, temperature=1.0, n=256, weight=1.0
    ):
        super().__init__(student, teacher)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature
        self.n, self.weight = n, weight

    def forward(self, student, teacher, batch):
        chosen = likely_anchors(teacher["head.cls"], self.n)
        z_s, z_t = (taps["head.cls"].flatten(0, -2)[chosen] for taps in (student, teacher))
        target = 1 + z_t.argmax(1)  # the background comes before the classes
        target_s, others_s = decouple(with_background(z_s) / self.temperature, target)
        target_t, others_t = decouple(with_background(z_t) / self.temperature, target)
        scale = self.weight * self.temperature**2
        return {
            "target": scale * self.alpha * _kl(target_t, target_s),
            "others": scale * self.beta * _kl(others_t, others_s),
        }


def decouple(z, target):
    """Logits (n, K) as log-probabilities of target or not (n, 2), and among the others (n, K-1)."""
    log_p = torch.log_softmax(z, dim=1)
    is_target = F.one_hot(target, z.shape[1]).bool()
    log_others = log_p[~is_target].view(len(z), -1)
    log_not_target = log_others.logsumexp(1)
    binary = torch.stack([log_p[is_target], log_not_target], dim=1)
    return binary, log_others - log_not_target.unsqueeze(1)


def _kl(log_t, log_s):
    """Mean over anchors of KL(t || s)."""
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)

"""FreeKD: the teacher's details, scale by scale, where prompts say that they matter.

    detail    w1 sum_o mean_jcx m_o,x | D_o,jcx( r(f_S) ) - D_o,jcx( f_T ) |      m: mean of masks
    feature   w2 mean ( r(f_S) - f_T )^2
    response  w3 mean_a sum_j smoothL1( code_S,aj - code_T,aj )

D_o are the details of kind o of a Haar transform over scales j, channels c and places x. The masks
of a kind are sigmoid( P_o sum_j D_o(f_T) ), one a prompt. Prompts P learn in a stage before the
training: the map whose coefficients are weighted by their masks goes through the teacher's frozen
head, and its detection loss is added to the likeness (Dice) of the masks to one another.
"""

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.errors import NotApplicable
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.heads import box_distance
from kdbench.ops.wavelets import haar, inverse_haar

KINDS = 4  # of coefficients: what is left, and three kinds of details
EPSILON = 1e-12


class FreeKD(Method):
    """Options: weights `detail`, `feature` and `response` (1, 5 and 1, published), `prompts` a kind
    (6), `levels` of the transform (3), `stage_steps` of the prompts' training.
    """

    name = "freekd"
    neutral = {"adapter": "linear"}
    needs = ("neck", "head.box")
    limits = {"prompts": (2, 64), "levels": (1, 8), "stage_steps": (1, 1e6)}
    same_detector = True  # its loss trains the prompts
    zero_when_equal = True
    paper = Paper(
        "FreeKD: Knowledge Distillation via Semantic Frequency Prompt", 2024,
        "CVPR 2024, arXiv 2311.12079",
    )  # fmt: skip
    deviations = (
        "the transform is undecimated, so that the scales of a place can be added as the authors' "
        "code adds them",
        "prompts learn through the head alone, for as many steps as the stage has",
        "smooth L1 of box codes, the heading's by the sine of its difference",
    )

    def __init__(
        self, student, teacher, *,
        detail=1.0, feature=5.0, response=1.0, prompts=6, levels=3, stage_steps=1000,
        adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        if teacher["neck"].apply is None:
            raise NotApplicable("method 'freekd': the teacher's neck has no `apply`")
        self.weights = detail, feature, response
        self.levels, self.stage_steps = levels, stage_steps
        self.prompts = Prompts(prompts, teacher["neck"].channels)
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def stage_modules(self):
        return [self.prompts]

    def stage_loss(self, teacher, taps, batch):
        low, details = haar(taps["neck"], self.levels)
        masks = [self.prompts(0, low), *self._masks(details)]
        low = low * masks[0].sum(1, keepdim=True)
        weighted = [d * m.sum(1)[None, :, None] for d, m in zip(details, masks[1:], strict=True)]
        heads = self.teacher_specs["neck"].apply(inverse_haar(low, torch.stack(weighted)))
        terms = teacher.loss({f"head.{name}": value for name, value in heads.items()}, batch)
        return terms | {"alike": sum(likeness(m) for m in masks)}

    def forward(self, student, teacher, batch):
        f_s, f_t = self.adapter(student["neck"]), self.adapter.target(teacher["neck"])
        _, details_t = haar(teacher["neck"], self.levels)  # as the prompts know them
        _, unlike = haar(f_s - f_t, self.levels)  # the transform is linear
        with torch.no_grad():
            masks = [m.mean(1)[None, :, None] for m in self._masks(details_t)]
        detail = sum((m * d.abs()).mean() for m, d in zip(masks, unlike, strict=True))
        response = box_distance(student["head.box"], teacher["head.box"]).mean()
        terms = detail, F.mse_loss(f_s, f_t), response
        names = "detail", "feature", "response"
        return {n: w * x for n, w, x in zip(names, self.weights, terms, strict=True)}

    def _masks(self, details):
        """The masks (B, prompts, H, W) of each kind of details (3, levels, B, C, H, W)."""
        return [self.prompts(kind, found.sum(0)) for kind, found in enumerate(details, 1)]


class Prompts(nn.Module):
    """Vectors that ask each place of a map what is of use there."""

    def __init__(self, count, channels):
        super().__init__()
        self.vectors = nn.Parameter(0.01 * torch.randn(KINDS, count, channels))

    def forward(self, kind, maps):
        """Masks (B, prompts, H, W), 0 to 1, of coefficients (B, C, H, W) of a kind."""
        return torch.einsum("pc,bchw->bphw", self.vectors[kind], maps).sigmoid()


def likeness(masks):
    """The mean Dice coefficient of every two of the masks (B, prompts, H, W) of a frame."""
    flat = masks.flatten(2)
    squares = flat.square().sum(-1) + EPSILON
    dice = 2 * (flat @ flat.transpose(1, 2)) / (squares[:, :, None] + squares[:, None])
    count = dice.shape[-1]
    others = dice.sum((1, 2)) - dice.diagonal(dim1=1, dim2=2).sum(1)
    return (others / (count * (count - 1))).mean()

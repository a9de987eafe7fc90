"""FT: the student imitates the teacher's factors, a compressed paraphrase of its features.

    transfer    mean | q(translator(F_S)) - q(encoder(F_T)) |,   q(x) = x / |x|_2 of a frame
    paraphrase  mean( (decoder(encoder(F_T)) - F_T)^2 )

Encoder and decoder, the paraphraser, learn from `paraphrase` alone, in a stage before the training;
student and translator learn from `transfer` alone. Factors have `rate` times as many channels as
the teacher's map.
"""

from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.taps import Kind, choose


class FactorTransfer(Method):
    """Options: `tap` (a pattern: the last map it names), `rate` (0.5: the paper's) and `weight`
    of the transfer (200: RepDistiller); `stage_steps` of the paraphraser's training (0: it learns
    along with the student).
    """

    name = "ft"
    needs = ("backbone.*",)
    paper = Paper("Paraphrasing Complex Network", 2018, "NeurIPS 2018, arXiv 1802.04977")
    deviations = (
        "the decoder's transposed convolutions are convolutions: at stride 1 they are the same",
    )

    neutral = {"stage_steps": 0}
    limits = {"stage_steps": (0, 1e6)}

    def __init__(
        self, student, teacher, *, tap="backbone.*", rate=0.5, weight=200.0, stage_steps=1000
    ):
        super().__init__(student, teacher)
        self.stage_steps = stage_steps
        self.tap, self.weight = choose(tap, student, Kind.BEV)[-1], weight
        width_s, width_t = student[self.tap].channels, teacher[self.tap].channels
        factors = max(1, round(rate * width_t))
        self.encoder = convolutions(width_t, width_t, factors, factors)
        self.decoder = convolutions(factors, factors, width_t, width_t)
        self.translator = convolutions(width_s, width_s, factors, factors)

    def stage_modules(self):
        return [self.encoder, self.decoder]

    def stage_loss(self, teacher, taps, batch):
        restored = self.decoder(self.encoder(taps[self.tap]))
        return {"paraphrase": F.mse_loss(restored, taps[self.tap])}

    def forward(self, student, teacher, batch):
        factors_t = self.encoder(teacher[self.tap])
        factors_s = self.translator(student[self.tap])
        transfer = F.l1_loss(normalised(factors_s), normalised(factors_t.detach()))
        terms = {"transfer": self.weight * transfer}
        if not self.stage_steps:
            terms["paraphrase"] = F.mse_loss(self.decoder(factors_t), teacher[self.tap])
        return terms


def convolutions(*widths: int) -> nn.Sequential:
    """A 3x3 convolution, batch norm and leaky ReLU from each width to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*layers)


def normalised(x):
    """Maps (B, C, H, W) as vectors of length 1, one a frame."""
    return F.normalize(x.flatten(1), dim=1)

"""Control: no distillation, but as much computing.

What distilling costs more than training without is paid back as steps. With s a step of the
student alone, s_KD one of a method, t one of the teacher, in seconds as measured,

    all:   extra steps = ( steps (s_KD - s) + teacher steps t ) / s
    step:  extra steps =   steps (s_KD - s) / s                      a teacher that is there anyway

A method that is not ahead of this control is no use of a machine's time: the student could have
trained for longer.
"""

from kdbench.method import Method


class Longer(Method):
    """Options: `variant`, and `method`, the one whose cost is paid back.

    Its runs are looked up, or made, to measure that cost; `train.extra_steps` sets it by hand.
    """

    name = "longer"
    teacher = "none"
    variants = ("all", "step")
    pays_back = True

    def __init__(self, student, teacher, *, variant="all", method="pointdistiller"):
        super().__init__(student, teacher)

    def forward(self, student, teacher, batch):
        return {}

"""No distillation: the baseline every gain is measured against."""

from kdbench.method import Method


class NoDistillation(Method):
    """Trains the student on its detection loss alone."""

    name = "none"
    teacher = "none"
    teaches_by_loss = False

    def forward(self, student, teacher, batch):
        return {}

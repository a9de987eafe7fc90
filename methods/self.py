"""Control: a student learns from itself, trained before.

The teacher is the same student, of the same ratio and seed, after its training without
distillation (a born-again network). What a method still gains does not come from a teacher that
is larger or better.
"""

from kdbench.method import Paper
from kdbench.methods.shared.wrapped import Wrapped


class SelfTeaching(Wrapped):
    """Options: `method`, the name of the method that is tested, and its `options`."""

    name = "self"
    needs = ("neck|points",)
    teacher = "self"
    paper = Paper("Born-Again Neural Networks", 2018, "arXiv 1805.04770")
    deviations = (
        "the loss is the wrapped method's, hints by default; the paper distils class scores",
    )

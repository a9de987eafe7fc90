"""Control: a method whose teacher was never trained.

The teacher is the full-width network with its initial weights, drawn from the run's seed. Its
batch norms take the statistics of each batch: their running ones are those of no data, and with
them features would fade from layer to layer until there is nothing to imitate. What a method
still gains comes from its pull towards some wider features, not from what a teacher learned.
"""

from kdbench.methods.shared.wrapped import Wrapped


class RandomTeacher(Wrapped):
    """Options: `method`, the name of the method that is tested, and its `options`."""

    name = "random-teacher"
    needs = ("neck|points",)
    teacher = "random"

"""SE-SSD's consistency loss with a trained teacher: see `ops/consistency.py` for the formula.

The reading that a comparison of distillation methods needs: a larger network, trained before,
takes the place of the student's own moving average (`mean-teacher`).
"""

from kdbench.ops.consistency import Consistency


class SESSD(Consistency):
    """Options: least `score`, least `overlap` of a pair, `ramp` (share of training), `weight`."""

    name = "se-ssd"
    deviations = (
        "the teacher is a trained, larger network instead of the student's moving average",
        *Consistency.deviations,
    )

"""SE-SSD's consistency loss (`methods/shared/consistency.py`) with a trained teacher.

The reading that a comparison of distillation methods needs: a larger network, trained before,
takes the place of the student's own moving average (`mean-teacher`).
"""

from kdbench.methods.shared.consistency import Consistency


class SESSD(Consistency):
    """Options: least `score`, least `overlap` of a pair, `ramp` (share of training), `weight`."""

    name = "se-ssd"
    deviations = (
        "the teacher is a trained, larger network instead of the student's moving average",
        *Consistency.deviations,
    )

"""Mean teacher (SE-SSD): the student keeps consistent with its own moving average.

After step t every weight and statistic of the teacher becomes

    theta_T = d theta_T + (1 - d) theta_S,     d = min(1 - 1 / (t + 1), 0.999)

The loss is that of `methods/shared/consistency.py`. No larger network is involved.
"""

import torch

from kdbench.methods.shared.consistency import Consistency

LONGEST = 0.999  # the largest decay


class MeanTeacher(Consistency):
    """Options: least `score`, least `overlap` of a pair, `ramp` (share of training), `weight`."""

    name = "mean-teacher"
    teacher = "ema"

    @torch.no_grad()
    def after_step(self, student, teacher, step, steps):
        super().after_step(student, teacher, step, steps)
        decay = min(1 - 1 / (step + 1), LONGEST)
        for average, value in zip(
            teacher.state_dict().values(), student.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:  # a count of batches
                average.copy_(value)

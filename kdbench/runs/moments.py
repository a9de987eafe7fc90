"""The moments of a training at which it is traced."""

# Of its length. Many losses have taught what they can after a tenth of it.
MOMENTS = (0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)


def moments(steps: int) -> list[int]:
    """Numbers of the traced steps, from 0 on; fewer than eight in a short training."""
    return sorted({traced_step(moment, steps) for moment in MOMENTS})


def traced_step(moment: float, steps: int) -> int:
    """The number of the step at a moment, 0 to 1, of a training."""
    return min(int(steps * moment), steps - 1)

"""How a method's loss pulled at its students, as columns of a table of its own."""

from collections.abc import Sequence
from fractions import Fraction

from kdbench.leaderboard.columns import NAME, Column, known, number
from kdbench.leaderboard.rows import Row
from kdbench.runs.moments import MOMENTS

WHEN = ["start", *(str(Fraction(moment)) for moment in MOMENTS[1:-1]), "end"]
EXPLANATION = """
How a loss pulls, of runs made with --trace, means over the seeds. reaches: how many of the
student's parameters the loss has a gradient for, and in which parts. The columns after it, named by
the moment of the training: the share that distillation has of the length of the gradient over these
parameters, beside detection. cos: of the angle between the two gradients, in the first and in the
last half of these moments: near 1 the labels ask for the same, below 0 for the opposite.
""".strip().replace("\n", " ")


def pull_columns(rows: Sequence[Row]) -> dict[str, Column]:
    """Title -> column, the method first; empty when no row was traced."""
    if not any(row["pull_reached"] for row in rows):
        return {}
    columns = {"reaches": Column("pull_reached", _reach, "parameters with a gradient of the loss")}
    for i, when in enumerate(WHEN):
        key = f"pull_share_{i}"
        columns[when] = Column(key, _percent(key), "share of the gradient at this moment")
    for half in ("early", "late"):
        key = f"pull_cosine_{half}"
        columns[f"cos {half}"] = Column(key, _cosine(key), "of the angle to detection's gradient")
    return NAME | columns


def _reach(row: Row) -> str:
    text = number(row["pull_reached"], ",.0f")
    return f"{text} {row['pull_parts']}" if row["pull_parts"] else text


def _percent(key: str):
    return lambda row: number(row[key], ".0f", 100) + (" %" if known(row[key]) else "")


def _cosine(key: str):
    return lambda row: number(row[key], "+.2f")

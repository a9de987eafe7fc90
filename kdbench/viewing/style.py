"""How boxes look: what they are by colour and by line, so that either one is enough to tell.

Colours are of a palette that is safe for the colour-blind (Okabe and Ito, 2008).
"""

from dataclasses import dataclass

from kdbench.evaluation.outcomes import LEFT_OUT, RIGHT, WRONG


@dataclass(frozen=True)
class Line:
    """One kind of box."""

    title: str
    colour: str
    style: object  # of Matplotlib: a name, or (offset, (dash, gap, ...))
    width: float
    fill: float = 0.0  # opacity inside


TRUTH = {
    RIGHT: Line("object, found", "#009E73", "-", 1.0, 0.22),
    WRONG: Line("object, missed", "#D55E00", (0, (4, 1.5)), 1.8, 0.22),
    LEFT_OUT: Line("object, does not count", "#777777", (0, (1, 1.5)), 1.0),
}
FOUND = {
    RIGHT: Line("detection, right", "#0072B2", "-", 1.6),
    WRONG: Line("detection, false alarm", "#CC2F8F", (0, (5, 1.5, 1, 1.5)), 1.6),
    LEFT_OUT: Line("detection, does not count", "#999999", (0, (4, 2)), 0.9),
}


def legend_handles() -> list:
    """An entry for each kind of box."""
    from matplotlib.patches import Patch

    return [
        Patch(
            facecolor=(line.colour, line.fill), edgecolor=line.colour, linestyle=line.style,
            linewidth=line.width, label=line.title,
        )
        for lines in (TRUTH, FOUND) for line in lines.values()
    ]  # fmt: skip


def summary(panel) -> str:
    """A panel's title: who, and how it went."""
    result = panel.outcome
    objects = result.hits + result.misses
    alarms = f"{result.false_alarms} false alarm" + "s" * (result.false_alarms != 1)
    return f"{panel.title}: {result.hits} of {objects} found, {alarms}"

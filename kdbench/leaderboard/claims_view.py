"""Reported gains beside measured ones: a table, and a plot."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from markupsafe import Markup

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard import svg
from kdbench.leaderboard.columns import Column
from kdbench.leaderboard.reported import SOURCE
from kdbench.leaderboard.rows import Row

WIDTH, HEIGHT = 470, 330
LETTER = 6.3  # pixels that a letter of a name is wide
EXPLANATION = f"""
Reported and measured: gains of {SOURCE}, and what they come to here, with the 95 % interval.
confirmed: above 0 beyond noise, all claims of the table looked at (Holm), and reaching the reported
size; smaller: above 0, but ending below that size; not of that size: not above 0, and ending below
it; else it cannot be told.
""".strip().replace("\n", " ")
COLUMNS = {
    "claim": Column("claim", lambda claim: claim["claim"]),
    "metric": Column("metric", lambda claim: METRICS[claim["metric"]], "which mAP"),
    "reported": Column("reported", lambda claim: f"{claim['reported']:+.1f}", "by the paper"),
    "measured": Column("value", lambda claim: f"{claim['value']:+.1f}", "in this table"),
    "95 %": Column("low", lambda claim: f"{claim['low']:+.1f}..{claim['high']:+.1f}", "interval"),
    "verdict": Column("verdict", lambda claim: claim["verdict"], "see how to read the tables"),
}


def claims_plot(claims: Sequence[Row]) -> Markup:
    """Measured gains over `none`, with intervals, against reported ones; empty without any.

    The dashed line is where both are equal. A filled dot is a claim that is confirmed.
    """
    shown = [claim for claim in claims if claim["over"] == "none"]
    if not shown:
        return Markup("")
    x = svg.scale_of([0.0, *(claim["reported"] for claim in shown)], 50, WIDTH - 12)
    ends = [claim[key] for claim in shown for key in ("low", "high")]
    y = svg.scale_of([*ends, x.low, x.high], HEIGHT - 46, 26)
    drawing = svg.canvas(WIDTH, HEIGHT, "measured gains against reported gains")
    svg.axes(drawing, x, y, "reported gain, mAP", "measured gain, mAP")
    svg.polyline(drawing, [(x(v), y(v)) for v in (x.low, x.high)], "plain")
    svg.add(drawing, "line", x1=x(x.low), x2=x(x.high), y1=y(0), y2=y(0), class_="zero")
    for claim in shown:
        at = x(claim["reported"])
        svg.add(
            drawing, "line", x1=at, x2=at, y1=y(claim["low"]), y2=y(claim["high"]), class_="arm"
        )
        sign = "better" if claim["verdict"] == "confirmed" else "noise"
        dot = svg.add(drawing, "circle", cx=at, cy=y(claim["value"]), r=4, class_=f"dot {sign}")
        metric = METRICS[claim["metric"]]
        svg.add(dot, "title", f"{claim['method']}, {metric}: {claim['value']:+.1f} of "
                f"{claim['reported']:+.1f}, {claim['verdict']}")  # fmt: skip
        _name(drawing, f"{claim['method']} {metric}", at, y(claim["value"]) - 5)
    return svg.markup(drawing)


def _name(drawing: Element, text: str, at: float, y: float) -> None:
    """A dot's name: to its right, or to its left where that would end outside."""
    fits = at + 6 + LETTER * len(text) < WIDTH
    place = {"x": at + 6, "class_": "name"} if fits else {"x": at - 6, "class_": "name end"}
    svg.add(drawing, "text", text, y=y, **place)

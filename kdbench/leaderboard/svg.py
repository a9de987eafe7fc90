"""What plots are drawn with: inline SVG, coloured by the page's style sheet.

Built as an element tree, so that every text in it is escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Scale:
    """Numbers to pixels, in proportion to them or to their logarithm."""

    low: float
    high: float
    start: float  # pixels of `low`
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round numbers between the ends."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def scale_of(
    values: Sequence[float], start: float, end: float, log: bool = False, margin: float = 0.06
) -> Scale:
    """A scale that holds all values, and a little room around them. Needs one value at least."""
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** margin, 1.1)
        return Scale(low / room, high * room, start, end, True)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low - room, high + room, start, end)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; the usual ticks where that would be fewer than two."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) > 1 else ticks(low, high)


def canvas(width: int, height: int, label: str) -> Element:
    """An empty drawing; `label` is what a screen reader says."""
    shape = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": label}
    return Element("svg", shape)


def add(parent: Element, tag: str, text: str | None = None, **attributes) -> Element:
    """A new element; `class_` is `class`, and an underscore in a name a hyphen."""
    names = {name.rstrip("_").replace("_", "-"): str(v) for name, v in attributes.items()}
    element = SubElement(parent, tag, names)
    element.text = text
    return element


def markup(drawing: Element) -> Markup:
    """The drawing as it stands in a page."""
    return Markup(_text(drawing))


def _text(element: Element) -> str:
    """What `ElementTree.tostring` says of drawings, whose texts stand before all children."""
    attributes = "".join([f' {name}="{escape(value)}"' for name, value in element.items()])
    inside = "".join([_text(child) for child in element])
    return f"<{element.tag}{attributes}>{escape(element.text or '')}{inside}</{element.tag}>"


def axes(drawing: Element, x: Scale, y: Scale, x_title: str, y_title: str) -> None:
    """Grid lines with their numbers, and titles; y runs from the bottom (start) to the top."""
    for value in y.ticks():
        add(drawing, "line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid")
        add(drawing, "text", f"{value:g}", x=x.start - 6, y=y(value) + 4, class_="tick end")
    for value in x.ticks():
        add(drawing, "line", x1=x(value), x2=x(value), y1=y.start, y2=y.end, class_="grid")
        add(drawing, "text", f"{value:g}", x=x(value), y=y.start + 16, class_="tick mid")
    middle = (x.start + x.end) / 2
    add(drawing, "text", x_title, x=middle, y=y.start + 34, class_="title mid")
    add(drawing, "text", y_title, x=x.start - 34, y=y.end - 9, class_="title")


def polyline(drawing: Element, points: Sequence[tuple[float, float]], class_: str) -> Element:
    """A line through points in pixels."""
    text = " ".join(f"{x:g},{y:g}" for x, y in points)
    return add(drawing, "polyline", points=text, class_=class_)

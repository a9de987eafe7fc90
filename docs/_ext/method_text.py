"""The text of a method's page, in Markdown: what its class says, its formulas, its results.

The class gives the summary, options, needs and deviations; `methods/NAME.md` beside the pages gives
formulas, where there is one, and else the docstring of the method's file does.
"""

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path

from kdbench.leaderboard.columns import ACCURACY
from kdbench.leaderboard.rows import Row
from kdbench.leaderboard.tables import sections
from kdbench.method import Method, Paper
from kdbench.registry.options import defaults_of
from kdbench.runs import tuned

TEACHERS = {
    "trained": "the full-width network, trained before",
    "self": "the same student, trained before without distillation",
    "random": "the full-width network with its initial weights",
    "ema": "a moving average of the student's own weights",
    "none": "none",
}
ADAPTERS = "`adapter`: linear, ensemble or orthogonal ([what they are](../methods.md#adapters))."
RESULTS = ("method", "seeds", "BEV mAP", "gain", "95 %", "3D mAP", "gain 3D", "95 % 3D")


def page(method: type[Method], detectors: Iterable[str], rows: list[Row], formulas: Path) -> str:
    """The page of a method that `detectors` can take; `rows` are those of published tables."""
    path = formulas / f"{method.name}.md"
    body = path.read_text() if path.exists() else _rest(method)
    parts = [
        f"# {method.name}\n\n{summary(method)}",
        body.strip("\n"),
        _source(method.paper),
        f"## Options\n\n{_options(method)}",
        f"## Needs\n\n{_needs(method, detectors)}",
        f"## Deviations\n\n{_deviations(method)}" if method.deviations else "",
        f"## Results\n\n{_results(method.name, rows)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(methods: Iterable[tuple[type[Method], list[str]]]) -> str:
    """A table of methods for the page above theirs, each with the detectors that can take it."""
    lines = []
    for method, detectors in methods:
        name, year = method.name, method.paper.year if method.paper else "-"
        cells = (f"[{name}](method/{name}.md)", year, plain(summary(method)), ", ".join(detectors))
        lines.append(_line(*cells))
    return "\n".join([*_header("method", "year", "in a sentence", "detectors"), *lines]) + "\n"


def summary(method: type[Method]) -> str:
    """The first paragraph of the docstring of a method's file, as one line."""
    return " ".join(_docstring(method).split("\n\n")[0].split())


def _rest(method: type[Method]) -> str:
    """The docstring without its first paragraph; indented formulas are shown as they are."""
    return _docstring(method).partition("\n\n")[2]


def _docstring(method: type[Method]) -> str:
    return inspect.getdoc(inspect.getmodule(method)) or inspect.getdoc(method) or ""


def _source(paper: Paper | None) -> str:
    if paper is None:
        return ""
    identifier = re.sub(
        r"(arXiv |, )(\d{4}\.\d{4,5})",
        r"\1[\2](https://arxiv.org/abs/\2)",
        paper.identifier,
    )
    year = "" if str(paper.year) in identifier else f"{paper.year}, "
    return f"Paper: {paper.title}. {year}{identifier}."


def _options(method: type[Method]) -> str:
    lines = [_line(f"`{name}`", code(value)) for name, value in defaults_of(method).items()]
    if method.teaches_by_loss:
        lines.append(_line("`scale`", _scales(method.name)))
    if not lines:
        return "It has none."
    about = re.sub(r"^Options?: ", "", inspect.cleandoc(method.__doc__ or ""))
    text = f"{about}\n\n"
    variants = ", ".join(f"`{v}`" for v in method.variants)
    text += f"Variants, the default first: {variants}.\n\n" if variants else ""
    text += f"{ADAPTERS}\n\n" if "adapter" in method.neutral else ""
    return text + "\n".join([*_header("`--set method.NAME=`", "default"), *lines])


def _scales(name: str) -> str:
    """The factor on a method's losses, by default and where `kdbench tune` found another."""
    found = {path.parent.name for path in tuned.FOLDER.glob(f"*/{name}.json")}
    tuned_to = [f"{code(tuned.tuned_scale(d, name))} with {d}" for d in sorted(found)]
    return ", ".join([code(1.0), *tuned_to])


def _needs(method: type[Method], detectors: Iterable[str]) -> str:
    taps = ", ".join(f"`{need}`" for need in method.needs) or "none"
    teacher = TEACHERS[method.teacher]
    if method.teacher_needs:
        shown = ", ".join(f"`{need}`" for need in method.teacher_needs)
        teacher += f" that shows {shown}: another detector than the student"
    return (
        f"Taps ([what they are](../detectors.md#taps)): {taps}. "
        f"Detectors that have them: {', '.join(detectors)}. "
        f"Teacher: {teacher}."
    )


def _deviations(method: type[Method]) -> str:
    return "\n".join(f"- {deviation}" for deviation in method.deviations)


def _results(name: str, rows: list[Row]) -> str:
    """The published rows of a method, each beside `none` of its table."""
    own = [row for row in rows if row["method"] == name and row["ratio"] > 1]
    if not own:
        command = f"kdbench run --method {name} --ratio 4"
        return f"None is published yet. On your machine:\n\n    {command}"
    columns = {title: ACCURACY[title] for title in RESULTS}
    parts = ["[How to read it](../protocol.md); mAP in percent."]
    for title, table in sections(own):
        lines = [_line(*(plain(c.show(row)) for c in columns.values())) for row in table]
        parts += [f"{plain(title)}:", "\n".join([*_header(*columns), *lines])]
    return "\n\n".join(parts)


def code(value: object) -> str:
    """A value as `--set` takes it, in a cell: a bar would end the cell in code too."""
    return f"`{json.dumps(value)}`".replace("|", r"\|")


def plain(text: str) -> str:
    """Text that a cell of a table shows as it is."""
    return re.sub(r"([\\|<>\[\]*])", r"\\\1", text)


def _header(*titles: str) -> list[str]:
    return [_line(*titles), _line(*("---" for _ in titles))]


def _line(*cells) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

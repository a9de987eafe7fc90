"""Pages of methods: made of their classes, with formulas, and their published results."""

from pathlib import Path

import pytest

from kdbench.leaderboard.columns import ACCURACY
from kdbench.registry import methods

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def method_text(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_ext")
    import method_text

    return method_text


@pytest.mark.parametrize("name", methods.names())
def test_a_page_says_what_the_class_says(method_text, name):
    method = methods.get(name)
    text = method_text.page(method, ["pointpillars"], [], DOCS / "methods")
    assert text.startswith(f"# {name}\n")
    assert all(f"- {deviation}" in text for deviation in method.deviations)
    assert not method.paper or method.paper.title in text
    assert (DOCS / f"methods/{name}.md").read_text().strip() in text


def test_there_are_formulas_of_methods_alone():
    assert {path.stem for path in (DOCS / "methods").glob("*.md")} == set(methods.names())


def test_without_formulas_the_docstring_is_shown(method_text, tmp_path):
    text = method_text.page(methods.get("fitnet"), [], [], tmp_path)
    assert "    sum over taps of mean( (r(F_S) - F_T)^2 )" in text


def test_options_stand_with_their_defaults_and_tuned_factors(method_text):
    text = method_text.page(methods.get("sp"), [], [], DOCS / "methods")
    assert '| `variant` | `"nodes"` |' in text
    assert r'| `tap` | `"neck\|points"` |' in text  # a bar would end the cell
    assert "| `scale` | `1.0`" in text


def test_rows_are_those_of_the_method(method_text, monkeypatch):
    monkeypatch.setattr(method_text, "sections", lambda rows: [(r["table"], [r]) for r in rows])
    shown = {title: column for title, column in ACCURACY.items() if title in method_text.RESULTS}
    for title, column in shown.items():
        cell = type(column)(column.key, lambda row, title=title: f"{title} of {row['method']}")
        monkeypatch.setitem(method_text.ACCURACY, title, cell)
    rows = [{"method": m, "ratio": r, "table": f"x{r}"} for m in ("kd", "sp") for r in (1, 4)]
    text = method_text.page(methods.get("kd"), [], rows, DOCS / "methods")
    assert "x4:\n\n| method |" in text and "\n| method of kd | seeds of kd |" in text
    assert "of sp" not in text and "x1" not in text


def test_a_method_without_rows_says_how_to_get_one(method_text):
    text = method_text.page(methods.get("kd"), [], [], DOCS / "methods")
    assert "    kdbench run --method kd --ratio 4" in text

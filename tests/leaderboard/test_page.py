import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kdbench.leaderboard.latex import latex
from kdbench.leaderboard.matrix import NOT_APPLICABLE, NOT_RUN, matrices
from kdbench.leaderboard.page import Picture, Sources, page, write_page
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import markdown, sections

NASTY = "<b>&_%\"'{{ 1 }}</script>"
VOID = {"meta", "link", "input", "img", "br"}


class Outline(HTMLParser):
    """What a browser would make of a page: its elements, and the text of table cells."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(records, **sources) -> Outline:
    by_hash = {r["hash"]: r for r in records}
    made = Outline(page(leaderboard(records), Sources(records=by_hash, **sources)))
    assert made.open == []
    return made


def test_the_page_shows_what_the_tables_say(records):
    found = outline(records)
    for text in ("50.00", "+10.00", "(+0.20)", "-10.00", "60.00", "good"):
        assert text in found.cells
    labels = [a["data-label"] for a in found.all("tr") if "data-row" in a]
    assert set(labels) == {"teacher", "none", "best", "good", "level", "bad"}
    noise = {a["data-label"] for a in found.all("tr") if a.get("class") == "noise"}
    assert noise == {"level"}


def test_the_page_needs_nothing_else(records, tmp_path):
    path = write_page(leaderboard(records), Sources(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
    text = path.read_text()
    assert "://" not in text and "@import" not in text
    found = Outline(text)
    linked = [a.get("src") or a.get("href") for tag in ("script", "link", "img", "a")
              for a in found.all(tag)]  # fmt: skip
    assert all(x is None or x.startswith("data:") for x in linked)


def test_names_are_text_whatever_is_in_them(records, record, student):
    plain = outline(records)
    nasty = outline([*records, record(student(NASTY), 44.0)])
    assert NASTY in nasty.cells
    for tag in ("b", "script"):
        assert len(nasty.all(tag)) == len(plain.all(tag))
    assert r"\<b\>\&_%" in markdown(leaderboard([record(student(NASTY), 44.0)]))


def test_names_of_data_sets_and_software_are_text_too(record, student):
    spec = student("x")
    spec = replace(spec, dataset=replace(spec.dataset, name=NASTY), profile=NASTY)
    made = record(spec, 44.0)
    made["environment"] = {"torch": NASTY}
    before = len(outline([record(student("x"), 44.0)]).all("script"))
    assert len(outline([made]).all("script")) == before


def test_tables_never_mix(records, record, student):
    odd = [
        replace(student("x"), device="cuda"), replace(student("x"), profile="standard"),
        student("x", ratio=16.0), student("x", dataset="kitti"), student("x", detector="second"),
    ]  # fmt: skip
    rows = leaderboard([*records, *(record(spec, 44.0) for spec in odd)])
    assert sorted(len(group) for _, group in sections(rows)) == [1, 1, 1, 2, 2, 6]
    shown = outline([*records, *(record(spec, 44.0) for spec in odd)])
    results = [a for a in shown.all("section") if a["class"] == "results"]
    assert len(results) == 6
    assert {a["data-ratio"] for a in results} == {"4", "16"}


@pytest.mark.parametrize("bev", [float("nan"), 0.0])
def test_a_single_row_with_little_in_it(record, student, bev):
    made = record(student("alone"), bev, frames=False)
    made["training"]["seconds_per_step"] = None
    made["environment"] = {}
    found = outline([made])
    assert "alone" in found.cells and "nan" not in " ".join(found.cells)


def test_figures_that_are_missing_show_as_missing(record, student):
    specs = [replace(student(m), seed=seed) for m in ("none", "x") for seed in range(2)]
    records = [record(spec, 40.0, frames=False) for spec in specs]
    records[-1]["metrics"] |= {"bev_map": float("nan")}
    for made in records:
        made["latency"] = {"p50": None, "p90": float("nan")}
    rows = leaderboard(records)
    found = outline(records)
    shown = " ".join([*found.cells, markdown(rows), latex(rows)])
    assert "nan" not in shown and "None" not in shown
    assert rows[-1]["latency_p50_ms"] is None
    assert len(found.all("circle")) > 0  # what is known is still drawn


def test_commands_and_machines_are_told(records):
    made = records[-1]["hash"]
    text = page(leaderboard(records), Sources(records={r["hash"]: r for r in records}))
    assert f"--spec synthetic/pointpillars-x4/bad/seed0-{made}.json" in text
    assert "kdbench run --method none --detector pointpillars --ratio 4" in text
    assert "6 runs with: " in text and "commit <b>abcabcabca+</b>" in text


def test_pictures_are_in_the_page(records):
    rows = leaderboard(records)
    ((title, _),) = sections(rows)
    text = page(rows, Sources(pictures={title: [Picture("a <frame>", b"\x89PNG")]}))
    (image,) = Outline(text).all("img")
    assert image["src"] == "data:image/png;base64,iVBORw=="
    assert image["alt"] == "a <frame>"


def test_forty_methods_make_a_page_of_modest_size(record, student):
    specs = [student("none"), student("kd").teacher_run(), *(student(f"m{i}") for i in range(40))]
    records = [record(spec, 40.0 + i / 7) for i, spec in enumerate(specs)]
    text = page(leaderboard(records), Sources(records={r["hash"]: r for r in records}))
    assert len(text.encode()) < 1_000_000
    assert len(re.findall("<h2>", text)) == 2


# The matrix of methods and detectors.


def test_the_matrix_tells_not_run_from_not_applicable(record, student):
    specs = [student("none"), student("a"), student("none", detector="second")]
    specs += [student("b", detector="second")]
    rows = leaderboard([record(spec, 40.0 + i, frames=False) for i, spec in enumerate(specs)])
    applicable = {"a": ["pointpillars"], "b": ["pointpillars", "second"], "c": ["second"]}
    (matrix,) = matrices(rows, applicable)
    assert matrix.columns == ("pointpillars x4", "second x4")
    assert dict(matrix.lines) == {
        "a": ("+1.00", NOT_APPLICABLE),
        "b": (NOT_RUN, "+1.00"),
        "c": (NOT_APPLICABLE, NOT_RUN),
    }


def test_an_unknown_method_counts_as_applicable(records):
    (matrix,) = matrices(leaderboard(records), {})
    assert dict(matrix.lines)["good"] == ("+5.00",)

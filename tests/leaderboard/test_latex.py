import re
import shutil
import subprocess

import pytest

from kdbench.leaderboard.latex import SHOWN, escape, latex, write_latex
from kdbench.leaderboard.rows import leaderboard

NASTY = r"<b>&_%$#{x}~^\|" + '"`'


def body(text: str) -> list[str]:
    """The lines of the first table between its rules, the header's among them."""
    start, end = text.index(r"\toprule"), text.index(r"\bottomrule")
    return [line for line in text[start:end].splitlines() if line.endswith(r"\\")]


def test_a_line_a_row_and_a_cell_a_column(records):
    text = latex(leaderboard(records))
    lines = body(text)
    assert len(lines) == 1 + len(records)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(SHOWN) - 1}
    assert text.count("{") == text.count("}")


def test_figures_are_formulas(records):
    lines = {line.split(" & ")[0]: line for line in body(latex(leaderboard(records)))}
    assert "$-10.00$" in lines["bad"]
    assert re.search(r"\$\(\+0\.20\)\$ & \[\$[+-]\d+\.\d\$, \$[+-]\d+\.\d\$\]", lines["level"])
    assert r"$\mathbf{+10.00}$" in lines["best"] and r"\mathbf" not in lines["level"]
    assert "-- & -- & " in lines["teacher"]


def test_special_characters_are_escaped():
    assert escape("a_b & 50 % <c>") == r"a\_b \& 50 \% \textless{}c\textgreater{}"
    assert escape("\\") == r"\textbackslash{}"


def test_a_name_with_special_characters_stays_one_cell(records, student, record):
    rows = leaderboard([*records, record(student(NASTY), 44.0)])
    line = next(x for x in body(latex(rows)) if "textless" in x)
    assert len(re.findall(r"(?<!\\)&", line)) == len(SHOWN) - 1


def test_every_table_stands_alone(records, student, record):
    rows = leaderboard([*records, record(student("none", ratio=16.0), 20.0)])
    text = latex(rows)
    assert text.count(r"\begin{table*}") == 4
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == 4


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX")
def test_it_compiles(records, student, record, tmp_path):
    disturbed = record(student(NASTY), 44.0, contention=0.9)
    # More tables than LaTeX keeps in mind.
    ratios = [record(student("none", ratio=20.0 + i), 20.0, frames=False) for i in range(60)]
    write_latex(leaderboard([*records, disturbed, *ratios]), tmp_path)
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}"
        r"\begin{document}\input{leaderboard}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "main.pdf").stat().st_size > 10_000

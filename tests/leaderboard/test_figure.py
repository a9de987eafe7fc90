"""The picture of the answer."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from kdbench.cli.report import report
from kdbench.errors import KdbenchError
from kdbench.leaderboard.figure import figure, write_figure
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import sections
from kdbench.runs.records import write_record

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def made(record, student):
    """Three seeds of `none` and of three methods, of which one has reported gains."""
    figures = {"none": 40.0, "pointdistiller": 43.0, "a<b": 50.0, "poor": 31.0}
    return [
        record(replace(student(name), seed=seed), bev + 0.1 * seed)
        for name, bev in figures.items()
        for seed in range(3)
    ]


def test_a_line_a_method_from_the_best_down(made, tmp_path):
    path = write_figure(sections(leaderboard(made)), tmp_path / "answer.svg")
    tree = ElementTree.parse(path).getroot()
    assert tree.tag == f"{SVG}svg"
    texts = [text.text for text in tree.iter(f"{SVG}text")]
    names = [text for text in texts if text and text.endswith(" (3)")]
    assert names == ["a<b (3)", "pointdistiller (3)", "poor (3)"]
    kinds = [circle.get("class") for circle in tree.iter(f"{SVG}circle")]
    assert kinds.count("paper") == 2  # of one method, in both metrics
    assert kinds.count("dot better") == 4 and kinds.count("dot worse") == 2


def test_everything_lies_within_the_picture(made):
    drawing = figure("t" * 300, leaderboard(made))
    _, _, width, height = map(float, drawing.get("viewBox").split())
    for circle in drawing.iter("circle"):
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height
    assert all(len(text.text) < 180 for text in drawing.iter("text"))


def test_without_a_gain_there_is_no_picture(record, student, tmp_path):
    with pytest.raises(KdbenchError, match="--figure: no row has a gain"):
        write_figure(sections(leaderboard([record(student("none"), 40.0)])), tmp_path / "a.svg")


def test_the_command_writes_it(made, tmp_path):
    for one in made:
        if "<" not in one["spec"]["method"]["name"]:
            write_record(tmp_path / "results", one)
    arguments = ["--results", str(tmp_path / "results"), "--figure", str(tmp_path / "a.svg")]
    done = CliRunner().invoke(report, [*arguments, "--no-pictures"])
    assert done.exit_code == 0, done.output
    assert "pointdistiller (3)" in (tmp_path / "a.svg").read_text()

"""`kdbench evaluate`: the table, the JSON, and one clear line for each mistake."""

import json

import pytest

from kdbench.cli import main

LABEL = "Car 0.00 0 0.50 {0}.00 100.00 {0}9.00 160.00 1.50 1.60 4.00 {0}.00 1.70 20.00 0.30"
ROW = LABEL.format(10)
SCORED = ROW + " 0.9"


@pytest.fixture
def tree(tmp_path):
    """50 frames with one car each, all found."""
    for folder, row in (("labels", ROW), ("results", SCORED)):
        (tmp_path / folder).mkdir()
        for i in range(50):
            (tmp_path / folder / f"{i:06d}.txt").write_text(row + "\n")
    return tmp_path


def run(tree, *options):
    arguments = ["--labels", tree / "labels", "--predictions", tree / "results", *options]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *map(str, arguments)])
    return stop.value.code


def fails(capsys, tree, *options):
    """The one line of error that the command ends with."""
    assert run(tree, *options) in (2, 4)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_table_and_json_file(tree, capsys):
    assert run(tree, "--json", tree / "ap.json") == 0
    out, err = capsys.readouterr()
    assert "50 frames" in out
    assert out.count("100.00") == 24  # four metrics of Car
    assert err == ""
    result = json.loads((tree / "ap.json").read_text())
    assert list(result) == ["car", "pedestrian", "cyclist"]
    assert result["car"]["3d"] == {"R11": [100.0] * 3, "R40": [100.0] * 3}
    assert result["cyclist"]["bbox"]["R40"] == [0.0] * 3


def test_json_alone_on_standard_output(tree, capsys):
    assert run(tree, "--json", "-") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["car"]["bev"]["R40"] == [100.0] * 3
    assert "100.00" in err


def test_byte_order_marks_lose_nothing(tree, capsys):
    for path in [*(tree / "labels").iterdir(), *(tree / "results").iterdir()]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (tree / "frames").write_bytes("\ufeff000001\r\n000002\r\n".encode())
    assert run(tree, "--json", "-", "--frames", tree / "frames") == 0
    assert json.loads(capsys.readouterr().out)["car"]["3d"]["R11"] == [1 / 11 * 100] * 3


def test_labels_without_a_difficulty_get_a_word(tree, capsys):
    for path in (tree / "labels").iterdir():
        path.write_text("Car 0 0 0 0 0 0 0 1.50 1.60 4.00 10.00 1.70 20.00 0.30\n")
    assert run(tree) == 0
    assert "warning: " in (err := capsys.readouterr().err)
    assert "50 frames: no object has a 2D box" in err and "projecting the 3D boxes helps" in err


def test_unknown_orientation_is_a_dash(tree, capsys):
    (tree / "results/000003.txt").write_text(SCORED.replace(" 0.50 ", " -10 "))
    assert run(tree, "--json", tree / "ap.json") == 0
    assert json.loads((tree / "ap.json").read_text())["car"]["aos"] is None
    row = next(line for line in capsys.readouterr().out.splitlines() if "aos" in line)
    assert row.count("-") == 6


def test_missing_results_are_counted(tree, capsys):
    for i in range(25):
        (tree / f"results/{i:06d}.txt").unlink()
    assert run(tree, "--json", tree / "ap.json") == 0
    assert "25 of 50 frames have no result file" in capsys.readouterr().err
    assert 40 < json.loads((tree / "ap.json").read_text())["car"]["3d"]["R40"][0] < 60


def test_frames_choose_what_is_read(tree, capsys):
    (tree / "results/000049.txt").write_text("broken\n")
    (tree / "some.txt").write_text("".join(f"{i:06d}\n" for i in range(45)))
    assert run(tree, "--frames", tree / "some.txt") == 0
    assert "45 frames" in capsys.readouterr().out


def test_missing_folders(tree, capsys):
    assert "no-such: " in fails(capsys, tree, "--labels", tree / "no-such")
    assert "no-such: " in fails(capsys, tree, "--predictions", tree / "no-such")
    assert "no-such: " in fails(capsys, tree, "--frames", tree / "no-such")


def test_missing_label_of_a_listed_frame(tree, capsys):
    (tree / "frames.txt").write_text("000001\n999999\n")
    line = fails(capsys, tree, "--frames", tree / "frames.txt")
    assert "999999.txt: no such label file" in line


def test_no_frames(tree, capsys):
    (tree / "frames.txt").write_text("\n")
    assert "lists no frames" in fails(capsys, tree, "--frames", tree / "frames.txt")
    (tree / "empty").mkdir()
    assert "no label files" in fails(capsys, tree, "--labels", tree / "empty")


def test_no_usable_result(tree, capsys):
    (tree / "empty").mkdir()
    assert "no result files" in fails(capsys, tree, "--predictions", tree / "empty")
    (tree / "empty/notes.txt").write_text("")
    line = fails(capsys, tree, "--predictions", tree / "empty")
    assert "no result file for any of the 50 frames" in line


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW, "15 columns, expected 16"),  # no score
        ("Car 1 2", "3 columns"),
        (SCORED.replace("1.60", "nan"), "not finite"),
        (SCORED.replace("1.60", "wide"), "wide"),
    ],
)
def test_damaged_result(tree, capsys, row, message):
    (tree / "results/000007.txt").write_text(f"{SCORED}\n{row}\n")
    line = fails(capsys, tree)
    assert "000007.txt, line 2: " in line
    assert message in line


def test_damaged_label(tree, capsys):
    (tree / "labels/000007.txt").write_text(ROW + " 1 1\n")
    assert "labels/000007.txt, line 1: 17 columns" in fails(capsys, tree)


def test_options_are_needed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate"])
    assert stop.value.code == 2
    assert "--labels" in capsys.readouterr().err

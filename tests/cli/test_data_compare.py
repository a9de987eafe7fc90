"""kdbench data synth and kdbench data compare."""

import json

import pytest
from click.testing import CliRunner

from kdbench.cli.data_compare import compare
from kdbench.cli.data_synth import synth
from kdbench.datasets.synthetic.generate import generate


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    roots = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
    for seed, root in enumerate(roots):
        generate(root, seed, 5, 2, workers=1)
    return roots


def test_compare_table_json_and_plot(trees, tmp_path):
    a, b = map(str, trees)
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    result = CliRunner().invoke(compare, [a, b, "--json", str(out), "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    assert "points a frame" in result.output
    found = json.loads(out.read_text())
    assert found["numbers"]["frames"] == {"a": 7, "b": 7}
    assert 0 < found["overlap"]["range"] <= 1
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_tree_is_like_itself(trees):
    a = str(trees[0])
    result = CliRunner().invoke(compare, [a, a, "--split", "val", "--json", "-"])
    found = json.loads(result.stdout)
    assert all(row["a"] == row["b"] for row in found["numbers"].values())
    assert all(abs(share - 1) < 1e-9 for share in found["overlap"].values())


def test_synth_makes_and_resumes(tmp_path):
    arguments = ["--out", str(tmp_path / "tree"), "--frames", "4", "--val", "1", "--workers", "1"]
    first = CliRunner().invoke(synth, arguments)
    assert first.exit_code == 0, first.output
    assert "4 made" in first.stderr
    assert "0 made" in CliRunner().invoke(synth, arguments).stderr


def test_synth_refuses_a_val_larger_than_all(tmp_path):
    result = CliRunner().invoke(synth, ["--out", str(tmp_path), "--frames", "4", "--val", "5"])
    assert result.exit_code != 0 and "--val" in str(result.exception)


def test_synthetic_frames_are_like_the_real_ones(shared, tmp_path):
    from kdbench.datasets.comparison import overlap, summarise
    from kdbench.datasets.kitti import Kitti

    generate(tmp_path, 0, 60, 0, workers=1)
    made = summarise(Kitti(root=tmp_path), ("train",))
    real = summarise(Kitti(root=shared / "kitti"))
    ratio = {name: made.numbers[name] / value for name, value in real.numbers.items() if value}
    assert 0.9 < ratio["points a frame (median)"] < 1.1
    for band in ("15-30", "30-45", "45-90"):
        assert 1 / 1.5 < ratio[f"points on a Car at {band} m (median)"] < 1.5
    for name in ("range", "height", "reflectance", "reflectance on a Car"):
        assert overlap(made.histograms[name], real.histograms[name]) > 0.85


def test_a_split_without_frames_is_one_clear_error(tmp_path):
    generate(tmp_path, 0, 1, 0, workers=1)
    result = CliRunner().invoke(compare, [str(tmp_path), str(tmp_path), "--split", "val"])
    assert "no frame in val" in str(result.exception)

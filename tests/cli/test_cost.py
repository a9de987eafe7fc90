"""`kdbench cost`: figures without data or training, and one clear line for each mistake."""

import json

import pytest

from kdbench.cli import main

KEYS = [
    "detector", "profile", "options", "input", "parameters", "macs", "macs_by_stage",
    "macs_sparse", "activations", "file_bytes", "frames", "ratio",
]  # fmt: skip


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["cost", *arguments])
    return stop.value.code


def test_json_keys_are_stable(capsys):
    assert run("--profile", "tiny", "--ratio", "16", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert (found["detector"], found["profile"]) == ("pointpillars", "tiny")
    assert found["input"] == "1 generated cloud(s) of 18,000 points"
    assert found["parameters"] == 308_664
    assert found["macs"] == sum(found["macs_by_stage"].values())
    assert list(found["ratio"]) == ["declared", "parameters", "macs", "activations"]
    assert found["ratio"]["declared"] == 16.0
    assert found["ratio"]["parameters"] == pytest.approx(15.664)


def test_table_and_file(capsys, tmp_path):
    file = tmp_path / "cost.json"
    assert run("--profile", "tiny", "--ratio", "4", "--frames", "2", "--json", str(file)) == 0
    out = capsys.readouterr().out
    assert out.startswith("pointpillars at ratio 4, tiny options\n")
    for word in ("1.217 M", "backbone", "neck", "head", "4.00", "over 2 generated cloud(s)"):
        assert word in out
    assert json.loads(file.read_text())["frames"] == 2


def test_the_dense_part_of_a_sparse_detector_is_stated_apart(capsys, tmp_path):
    file = tmp_path / "cost.json"
    assert run("--profile", "tiny", "--detector", "second", "--json", str(file)) == 0
    found = json.loads(file.read_text())
    assert 0 < found["macs_sparse"] == found["macs_by_stage"]["encoder"] < found["macs"]
    dense = found["macs"] - found["macs_sparse"]
    assert f"dense part │  {dense / 1e9:.3f} G" in capsys.readouterr().out
    assert run("--profile", "tiny", "--ratio", "16", "--json", str(file)) == 0
    assert json.loads(file.read_text())["macs_sparse"] == 0
    assert "dense part" not in capsys.readouterr().out


def test_without_a_profile_the_options_are_the_published_ones(capsys):
    assert run("--ratio", "16", "--set", "detector.pillar_size=0.32", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["profile"] is None
    assert found["options"]["point_range"] == [0.0, -39.68, -3.0, 69.12, 39.68, 1.0]
    assert found["options"]["pillar_size"] == 0.32  # --set goes on top


def test_frames_of_a_data_set(capsys, monkeypatch):
    """The data set gets its own settings, and the range of the detector measured."""
    from kdbench.classes import KITTI
    from kdbench.measure import inputs

    class Stub:
        name, kinds = "kitti", KITTI

        def __init__(self, **options):
            self.options = options

        def ids(self, split):
            return ["a", "b"]

        def frame(self, frame_id):
            return frame_id

    def build(spec, root):
        asked.append((spec.dataset.options["val_frames"], spec.detector.ratio, root))
        return Stub()

    asked = []
    cloud = inputs.generated((0, -10, -3, 20, 10, 1), 1, points=99).batches[0]
    monkeypatch.setattr("kdbench.training.data.build_dataset", build)
    monkeypatch.setattr(inputs, "collate", lambda frames: cloud)
    arguments = ["--profile", "tiny", "--ratio", "16", "--dataset", "kitti", "--data-root", "X"]
    assert run(*arguments, "--set", "dataset.val_frames=7", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == [(7, 16.0, "X")]
    assert found["input"] == "2 val frame(s) of kitti"
    assert found["macs_by_stage"]["encoder"] == 99 * 9 * 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "0.5"], "ratio must be a number of at least 1, not 0.5"),
        (["--ratio", "nan"], "ratio must be a number of at least 1"),
        (["--ratio", "inf"], "ratio must be a number of at least 1"),
        (["--detector", "pointpilars"], "did you mean 'pointpillars'?"),
        (["--profile", "tinny"], "did you mean 'tiny'?"),
        (["--set", "detector.pilar_size=1"], "did you mean 'pillar_size'?"),
        (["--set", "train.epochs=1"], "unknown configuration key"),
        (["--set", "pillar_size"], "expected key=value"),
        (["--frames", "0"], "frames must be at least 1"),
        (["--data-root", "X"], "need --dataset NAME"),
        (["--dataset", "kiti"], "did you mean 'kitti'?"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, message):
    assert run("--profile", "tiny", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err

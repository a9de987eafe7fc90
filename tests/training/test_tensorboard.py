import builtins
import json

import pytest

from kdbench.errors import UsageError
from kdbench.runs import store
from kdbench.runs.spec import RunSpec
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner
from kdbench.training.tensorboard import TensorBoard, events_folder


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'kdbench\[tensorboard\]'"):
        TensorBoard()


@pytest.fixture
def board():
    pytest.importorskip("tensorboard")
    return TensorBoard()


def scalars(folder):
    """Name -> list of (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(events_folder(folder)))
    events.Reload()
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


def test_a_run_writes_losses_rates_and_ap(make_spec, kitti_tree, tmp_path, board):
    runner = Runner(tmp_path / "results", str(kitti_tree), reporter=Reporter(True, board))
    record = runner.run(make_spec("none", ratio=16.0))
    folder = store.run_folder(RunSpec.from_dict(record["spec"]))
    board.result(record, folder)
    found = scalars(folder)
    logged = json.loads((folder / "log.jsonl").read_text())
    for name in ("cls", "box", "dir"):
        assert found[f"loss/{name}"] == [(4, pytest.approx(logged[name]))]
    assert {"train/lr", "train/grad_norm", "train/seconds_per_step"} < set(found)
    assert found["train/seconds_per_step"][0][1] > 0
    assert found["AP/bev_map"] == [(4, pytest.approx(record["metrics"]["bev_map"]))]
    assert found["AP/car_3d"] == [
        (4, pytest.approx(record["metrics"]["kitti"]["car"]["3d"]["R40"][1]))
    ]


def test_a_resumed_training_leaves_no_step_twice(tmp_path, board):
    for start, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        with board.training(tmp_path, start) as write:
            for step in steps:
                write(step, {"cls": float(step + start), "lr": 0.1}, 0.5)
    found = scalars(tmp_path)["loss/cls"]
    assert found == [(10, 10.0), (20, 20.0), (30, 50.0), (40, 60.0)]


def test_a_run_that_was_not_trained_now_gets_no_events(tmp_path, board):
    board.result({}, tmp_path)
    assert not events_folder(tmp_path).exists()

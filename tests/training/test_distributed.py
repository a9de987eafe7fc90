"""Two processes compute what one does; `sharing.py` is what each of them runs."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdbench.training import processes
from kdbench.training.shares import own_frames

REPOSITORY = Path(__file__).resolve().parents[2]
# CRD: a loss between boxes, and adapters.
TASKS = ["pieces", "batches", "gradients", "pointpillars/crd"]
UNUSED = ["unused.weight", "unused.bias"]
# Three steps apart, as a share of what they have moved: AdamW divides a gradient by its size,
# however small, and PointRCNN chooses proposals by scores. One process with one thread and with
# two are as far apart.
APART = {"pointrcnn/none": 0.1}
ROUNDING = 5e-3
SHARING = Path(__file__).with_name("sharing.py")


FOUND = {}  # what the tasks of all tests gave, done by one start of the processes


@pytest.fixture
def found(tmp_path, kitti_tree):
    """What one process found, and each of two; a dictionary by task."""
    if not FOUND:
        FOUND["all"] = run(tmp_path, kitti_tree, *TASKS)
    return FOUND["all"]


def run(folder, root, *tasks):
    """Does tasks by one process and by two."""
    port = str(free_port())
    started = [
        start(folder, root, tasks, *world) for world in ((1, 0, "0"), (2, 0, port), (2, 1, port))
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(said)
    names = ("0of1", "0of2", "1of2")
    return [torch.load(folder / f"{name}.pt", weights_only=True) for name in names]


def start(folder, root, tasks, size, rank, port) -> subprocess.Popen:
    own = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1,
        "PYTHONPATH": REPOSITORY,
        "KDBENCH_HOME": folder / f"home{rank}of{size}",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, SHARING, folder, root, *tasks],
        env=os.environ | {k: str(v) for k, v in own.items()}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def same(a, b) -> None:
    """Equal to rounding in double precision."""
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("frames", [1, 3, 8])
def test_shares_are_a_partition_in_order(monkeypatch, count, frames):
    monkeypatch.setattr(processes, "size", lambda: count)
    shares = []
    for number in range(count):
        monkeypatch.setattr(processes, "number", lambda number=number: number)
        shares.append(list(own_frames(frames)))
    if frames < count:
        assert shares == [list(range(frames))] * count  # every process computes all
    else:
        assert sum(shares, []) == list(range(frames))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_losses_gradients_and_statistics_are_those_of_one_process(found):
    one, *two = (each["pieces"] for each in found)
    for gradients in (each["gradients"] for each in (one, *two)):
        assert [name for name, g in gradients.items() if g is None] == UNUSED
    for each in two:
        pairs = zip(leaves(each), leaves(one), strict=True)
        for mine, expected in pairs:
            same(mine, expected)


def leaves(values):
    """The tensors of nested dictionaries."""
    if isinstance(values, dict):
        return [leaf for value in values.values() for leaf in leaves(value)]
    return [] if values is None else [values]


def test_each_process_prepares_its_share_and_knows_the_whole_batch(found):
    one, *two = (each["batches"] for each in found)
    assert [len(batch["ids"]) for batch in one["whole"]] == [3, 1]
    for each in two:
        for mine, expected in zip(each["whole"], one["whole"], strict=True):
            assert mine["ids"] == expected["ids"]
            for name in ("points", "boxes", "labels"):
                same(mine[name], expected[name])
    first, last = (b["ids"] for b in one["whole"])
    # A batch of one frame cannot be shared: both compute it.
    shares = [[b["ids"] for b in each["own"]] for each in two]
    assert shares == [[first[:1], last], [first[1:], last]]
    points = [each["own"][0]["points"] for each in two]
    assert [set(p[:, 0].tolist()) for p in points] == [{0.0}, {0.0, 1.0}]
    same(torch.cat([p[:, 1:] for p in points]), one["whole"][0]["points"][:, 1:])


def test_gradients_of_a_detector_are_those_of_one_process(found):
    """Tensor by tensor, before AdamW divides what is small by its size."""
    one, *two = (each["gradients"] for each in found)
    assert len(one["student"]) > 20 and len(one["method"]) > 0
    for each in two:
        for part, expected in one.items():
            for name, value in expected.items():
                apart = (each[part][name] - value).norm()
                assert apart <= 1e-3 * value.norm() + 1e-6, f"{part} {name}"


def test_two_processes_train_the_weights_of_one(found):
    check_training("pointpillars/crd", found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [
        "pointpillars/mean-teacher",
        "pointpillars/crosskd",
        "pointpillars/label-encoder",
        "second/none",
        "centerpoint/none",
        "pointrcnn/none",
    ],
)
def test_averaged_teachers_and_other_detectors(tmp_path, kitti_tree, task):
    check_training(task, run(tmp_path, kitti_tree, task))


def check_training(task, found):
    one, *two = (each[task] for each in found)
    assert [each["processes"] for each in (one, *two)] == [1, 2, 2]
    before, after = one["before"], one["after"]
    for name in after:
        assert torch.equal(two[0]["after"][name], two[1]["after"][name]), name
    moved = distance(after, before)
    assert moved > 0
    assert distance(two[0]["after"], after) <= APART.get(task, ROUNDING) * moved


def distance(a, b) -> float:
    """Euclidean, over all tensors."""
    return sum((a[name] - b[name]).double().square().sum() for name in a) ** 0.5

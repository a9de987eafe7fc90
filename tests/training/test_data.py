import threading
from itertools import islice

import numpy as np
import pytest
import torch

from kdbench.dataset import collate
from kdbench.errors import DataError
from kdbench.training.data import epoch_order, evaluation_batches, training_batches


def same(a, b) -> bool:
    return (
        a.ids == b.ids
        and torch.equal(a.points, b.points)
        and all(torch.equal(x, y) for x, y in zip(a.boxes, b.boxes, strict=True))
    )


def test_an_epoch_entered_in_its_middle_gives_the_same_batches(dataset):
    whole = list(training_batches(dataset, seed=3, epoch=1, batch_size=1))
    rest = list(training_batches(dataset, seed=3, epoch=1, batch_size=1, skip=2))
    assert len(whole) == 4
    assert all(same(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_batches_made_ahead_are_those_made_one_by_one(dataset):
    order = epoch_order(dataset.ids("train"), seed=3, epoch=1)
    for i, batch in enumerate(training_batches(dataset, seed=3, epoch=1, batch_size=2)):
        places = range(2 * i, 2 * i + 2)
        draws = [np.random.default_rng([3, 1, place]) for place in places]
        frames = [dataset.training_frame(order[p], d) for p, d in zip(places, draws, strict=True)]
        assert same(batch, collate(frames))


def test_every_epoch_holds_every_frame_once_in_another_order():
    ids = [str(i) for i in range(50)]
    orders = [epoch_order(ids, seed=0, epoch=e) for e in range(3)]
    assert all(sorted(order) == sorted(ids) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_order(ids, seed=0, epoch=1) == orders[1]
    assert epoch_order(ids, seed=1, epoch=1) != orders[1]


def test_the_last_batch_may_be_smaller(dataset):
    assert [len(b) for b in training_batches(dataset, 0, 0, batch_size=3)] == [3, 1]


def test_evaluation_frames_are_the_recorded_ones_in_order(dataset):
    (batch,) = evaluation_batches(dataset, ["000003", "000002"], 2)
    assert batch.ids == ["000003", "000002"]
    recorded = dataset.frame("000002").points
    np.testing.assert_array_equal(batch.points[batch.points[:, 0] == 1][:, 1:], recorded)


def test_an_error_in_a_thread_reaches_the_training(dataset, kitti_tree):
    (kitti_tree / "training/velodyne/000004.bin").write_bytes(b"123")
    with pytest.raises(DataError, match=r"000004\.bin"):
        list(training_batches(dataset, 0, 0, 1))


def test_batches_that_are_not_all_taken_leave_no_threads(dataset):
    batches = training_batches(dataset, 0, 0, 1)
    list(islice(batches, 1))
    batches.close()
    for thread in threading.enumerate():
        if "ThreadPool" in thread.name:
            thread.join(timeout=10)
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]

"""The moving average, step by step."""

import pytest
import torch
from torch import nn

from kdbench.methods.mean_teacher import MeanTeacher
from kdbench.methods.se_ssd import SESSD


def network(value):
    net = nn.BatchNorm1d(2)
    for x in (net.weight.data, net.bias.data, net.running_mean, net.running_var):
        x.fill_(value)
    net.num_batches_tracked.fill_(int(value))
    return net


def test_weights_and_statistics_follow_the_student():
    student, teacher = network(0.0), network(8.0).requires_grad_(False)
    method = MeanTeacher({}, {})
    expected = 8.0
    for step in range(1, 6):
        for x in (student.weight.data, student.running_var):
            x.fill_(step)
        student.num_batches_tracked.fill_(step)
        method.after_step(student, teacher, step, 10)
        decay = 1 - 1 / (step + 1)
        expected = decay * expected + (1 - decay) * step
        assert teacher.weight.tolist() == pytest.approx([expected] * 2)
        assert teacher.running_var.tolist() == pytest.approx([expected] * 2)
        assert teacher.num_batches_tracked == step
    assert method.progress == 0.5
    assert teacher.weight.grad is None and not teacher.weight.requires_grad


def test_the_decay_has_a_limit():
    student, teacher = network(1.0), network(0.0)
    MeanTeacher({}, {}).after_step(student, teacher, 50_000, 100_000)
    assert teacher.weight.tolist() == pytest.approx([0.001] * 2)


def test_it_is_se_ssd_but_for_the_teacher():
    assert MeanTeacher.teacher == "ema" and SESSD.teacher == "trained"
    assert MeanTeacher.forward is SESSD.forward
    assert not any(p.requires_grad for p in MeanTeacher({}, {}).parameters())
    assert torch.equal(MeanTeacher({}, {}).progress, torch.zeros(()))

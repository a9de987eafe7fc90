"""What methods may hand to the training loop."""

import pytest
import torch

from kdbench.dataset import Batch
from kdbench.errors import UsageError
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.training.conformance import Failed, check_method
from kdbench.training.run import Runner
from kdbench.training.terms import Distillation

BATCH = Batch([], torch.zeros(0, 5), [], [])


class Gives(Method):
    """Returns what it is made with."""

    name = "gives"
    teacher = "none"

    def __init__(self, value, teacher=None):
        super().__init__({}, {})
        self.value = value

    def forward(self, student, teacher, batch):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


WRONG = [
    (None, "method 'gives' must return a dictionary of loss terms, not None"),
    (torch.ones(()), "must return a dictionary of loss terms, not a Tensor"),
    ({"v": 0.5}, "loss term 'v' must be a tensor, a scalar, not a float"),
    ({"v": torch.ones(4)}, r"loss term 'v' must be a scalar, not of shape \(4,\)"),
    ({"v": torch.ones((), dtype=torch.long)}, "loss term 'v' must be floating, not torch.int64"),
    ({3: torch.ones(())}, "has the name 3"),
    ({}, "returns no loss term, so that it would train as `none`"),
    (KeyError("neck"), "fails with its options at its first batch: KeyError: 'neck'"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_what_is_no_dictionary_of_scalars_is_refused_by_name_and_rule(value, message):
    with pytest.raises(UsageError, match=message):
        Distillation(Gives(value)).terms({}, {}, BATCH)


def test_a_method_may_be_silent_once_it_has_taught():
    method = Gives({"v": torch.ones(())})
    distillation = Distillation(method)
    distillation.terms({}, {}, BATCH)
    method.value = {}
    assert distillation.terms({}, {}, BATCH) == {}
    method.value = {"v": torch.ones(4)}
    with pytest.raises(UsageError, match="must be a scalar"):
        distillation.terms({}, {}, BATCH)


def test_a_method_that_teaches_by_its_hooks_alone_says_so(monkeypatch):
    monkeypatch.setattr(Gives, "teaches_by_loss", False)
    assert Distillation(Gives({})).terms({}, {}, BATCH) == {}


def test_labels_and_logs_are_looked_at_too(monkeypatch):
    method = Gives({"v": torch.ones(())})
    monkeypatch.setattr(method, "relabel", lambda *_: None)
    with pytest.raises(UsageError, match="relabel must return a Batch, not None"):
        Distillation(method).relabelled(BATCH, None, {})
    method.logs["share"] = 0.5
    with pytest.raises(UsageError, match="'share' of its logs must be a tensor"):
        Distillation(method).terms({}, {}, BATCH)


@pytest.mark.parametrize("name", ["none", "tgi", "label-kd"])
def test_built_in_methods_without_a_loss_are_known(name):
    assert not methods.get(name).teaches_by_loss


class Vector(Method):
    name = "vector"
    needs = ("head.cls",)

    def forward(self, student, teacher, batch):
        return {"v": (student["head.cls"] - teacher["head.cls"]).flatten(1).mean(1)}


def test_run_and_check_both_refuse_it(monkeypatch, make_spec, make_runner):
    monkeypatch.setitem(methods._found, "vector", Vector)
    spec = make_spec("vector", train__steps=1, teacher__steps=1)
    runner: Runner = make_runner()
    with pytest.raises(UsageError, match="method 'vector': loss term 'v' must be a scalar"):
        runner.run(spec)
    with pytest.raises(Failed, match="method 'vector': loss term 'v' must be a scalar"):
        check_method(spec)

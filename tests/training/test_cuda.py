"""Training on a GPU: the losses of the CPU, for every detector and method, and a whole run."""

from dataclasses import replace

import pytest
import torch

from kdbench.registry import detectors, methods
from kdbench.runs.records import read_records
from kdbench.runs.settings import build_spec
from kdbench.training import conformance

pytestmark = pytest.mark.cuda


def losses_and_gradient(spec, device: str, seed: int = 0):
    """Losses by name, and the gradient of their sum in the student."""
    training, batch = conformance._networks(spec)
    for network in filter(None, (training.student, training.teacher, training.method)):
        network.to(device)
    torch.manual_seed(seed)
    losses = training.losses(batch.to(device))
    sum(losses.values()).backward()
    assert {x.device.type for x in losses.values()} == {device}
    gradients = [p.grad.flatten().cpu() for p in training.student.parameters()]
    return {name: float(x.detach()) for name, x in losses.items()}, torch.cat(gradients)


def assert_close_to_the_cpu(spec):
    expected, gradient = losses_and_gradient(spec, "cpu")
    found, there = losses_and_gradient(spec, "cuda")
    assert found.keys() == expected.keys() and there.isfinite().all()
    if losses_and_gradient(spec, "cpu", seed=1)[0] == expected:  # else it draws numbers of its own
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-4)
        assert (there - gradient).norm() < 0.05 * gradient.norm()


@pytest.mark.parametrize("name", detectors.names())
def test_a_detector_learns_as_on_the_cpu(name):
    assert_close_to_the_cpu(build_spec(profile="tiny", detector=name, method="none"))


@pytest.mark.parametrize("name", methods.names())
def test_a_method_teaches_as_on_the_cpu(name):
    named = {"method.n": 50, "method.k": 4} if name == "pointdistiller" else {}
    other = "pointrcnn" if methods.get(name).teacher_needs else None
    spec = build_spec(profile="tiny", method=name, overrides=named, teacher_detector=other)
    assert_close_to_the_cpu(spec)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_whole_run(make_runner, make_spec, tmp_path, precision):
    spec = make_spec("pointdistiller", train__steps=3, teacher__steps=3, train__precision=precision)
    make_runner().run(replace(spec, device="cuda"))
    records = read_records(tmp_path / "results")
    assert sorted(r["spec"]["method"]["name"] for r in records) == [
        "none",
        "none",
        "pointdistiller",
    ]
    assert sorted(r["spec"]["device"] for r in records) == ["any", "cuda", "cuda"]
    for record in records:
        assert record["training"]["peak_memory_how"].startswith("cuda")

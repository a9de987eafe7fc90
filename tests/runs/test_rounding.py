"""Weights of teachers: what is rounded, and what a file of them holds."""

import pytest
import torch
from safetensors.torch import load_file

from kdbench.errors import DataError
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.rounding import packed, round_matrices, unpacked
from kdbench.runs.settings import build_spec

CLASSES = ("Car", "Pedestrian", "Cyclist")


@pytest.fixture
def network():
    torch.manual_seed(0)
    detector = build_detector(build_spec(profile="tiny", ratio=16).detector, CLASSES)
    for name, buffer in detector.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(1e-9)  # float16 has nothing so small
    return detector


def test_matrices_alone_are_rounded(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    round_matrices(network)
    changed = {n for n, value in network.state_dict().items() if not value.equal(before[n])}
    matrices = {n for n, p in network.named_parameters() if p.dim() > 1}
    assert changed == matrices
    for name in matrices:
        value = network.state_dict()[name]
        assert value.dtype == torch.float32 and value.equal(before[name].half().float())


def test_a_file_of_rounded_weights_is_half_the_size_and_the_same_bits(
    network, tmp_path, monkeypatch
):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    spec = build_spec(profile="tiny", ratio=16)
    store.save_weights(spec, network)
    plain = store.weights_path(spec).stat().st_size
    round_matrices(network)
    store.save_weights(spec, network)
    assert store.weights_path(spec).stat().st_size < 0.6 * plain
    found = store.load_trained(spec)
    assert store.checksum(found.state_dict()) == store.checksum(network.state_dict())
    types = {value.dtype for value in load_file(store.weights_path(spec)).values()}
    assert torch.float16 in types and torch.float32 in types


def test_weights_that_would_lose_something_are_written_as_they_are():
    tensors = {"matrix": torch.tensor([[1 / 3]]), "rounded": torch.ones(2, 2)}
    assert packed(tensors) is tensors
    exact = {"matrix": torch.tensor([[0.5]]), "bias": torch.tensor([1 / 3])}
    assert {n: x.dtype for n, x in packed(exact).items()} == {
        "matrix": torch.float16, "bias": torch.float32,
    }  # fmt: skip
    assert all(x.equal(exact[n]) for n, x in unpacked(packed(exact)).items())


def test_weights_that_are_not_finite_are_refused(network, tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    spec = build_spec(profile="tiny", ratio=16)
    next(network.parameters()).data.fill_(float("nan"))
    store.save_weights(spec, network)
    with pytest.raises(DataError, match="holds a value that is not finite"):
        store.load_trained(spec)

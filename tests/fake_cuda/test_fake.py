"""The fake GPU refuses and counts what a GPU would."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

fake = pytest.importorskip("fake_tensor", reason="tests of the fake GPU itself")
pytestmark = pytest.mark.cuda


def test_tensors_of_two_devices_do_not_meet():
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    for operation in (torch.add, torch.dot, torch.minimum):
        with pytest.raises(RuntimeError, match="one device"):
            operation(there, here)
    with pytest.raises(RuntimeError, match="one device"):
        here[torch.tensor([0], device="cuda")]
    assert (there + torch.tensor(2.0)).tolist() == [3, 3, 3]  # a number is welcome
    assert there[torch.tensor([0])].is_cuda  # indices too


def test_numpy_does_not_see_it():
    for read in (lambda x: x.numpy(), np.asarray):
        with pytest.raises(TypeError):
            read(torch.ones(3, device="cuda"))


def test_a_network_trains_as_on_the_cpu():
    torch.manual_seed(0)
    here = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    there, x = copy.deepcopy(here).cuda(), torch.randn(2, 2, 8, 8)
    for network, device in ((here, "cpu"), (there, "cuda")):
        optimizer = torch.optim.AdamW(network.parameters())
        network(x.to(device)).square().sum().backward()
        optimizer.step()
        assert {p.grad.device.type for p in network.parameters()} == {device}
    for a, b in zip(here.state_dict().values(), there.state_dict().values(), strict=True):
        assert b.is_cuda and torch.equal(a, b.cpu())


@pytest.mark.parametrize(
    ("operation", "waits"),
    [
        (lambda x: x + 1, 0),
        (lambda x: x.index_select(0, x.argmax(0, keepdim=True)), 0),
        (lambda x: x.masked_fill(x > 0, 0), 0),
        (lambda x: x[x.argmax()], 1),
        (lambda x: float(x[0]), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.tolist(), 1),
        (lambda x: bool(x.sum() > 0), 1),
        (lambda x: x.repeat_interleave(x.long()), 1),
        (lambda x: x.repeat_interleave(x.long(), output_size=3), 0),
    ],
)
def test_waits(operation, waits):
    x = torch.tensor([0.0, 1.0, 2.0], device="cuda")
    with fake.counting() as counts:
        operation(x)
    assert counts.waits.total() == waits


def test_kernels_and_uploads():
    x = torch.ones(2, 3, device="cuda")
    with fake.counting() as counts:
        (x.T.reshape(2, 3)[1:] * 2).view(-1)  # only the copy and the product
        x.new_tensor([1.0])
    assert counts.kernels.total() == 2
    assert counts.uploads.total() == 1


def test_a_graph_does_again_what_it_recorded_and_may_not_wait():
    x, graph = torch.tensor([1.0, 2.0], device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = (x * 2).add_(1)
    x.fill_(5.0)
    graph.replay()
    assert y.tolist() == [11, 11]
    with pytest.raises(RuntimeError, match="synchronizing"), torch.cuda.graph(graph):
        x.sum().item()

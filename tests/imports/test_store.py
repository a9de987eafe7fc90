"""What is kept is what was imported."""

import copy

import pytest
import torch

from kdbench.detectors.layers.pillar_encoder import PillarEncoder
from kdbench.errors import DataError, UsageError
from kdbench.imports import store
from kdbench.imports.cases import config_of, read_cases, read_inputs
from kdbench.imports.map_arrays import batch_of
from kdbench.imports.network import import_network
from kdbench.ops.fold import fold_norms
from kdbench.runs.imported import folder, load


@pytest.fixture
def kept(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    folder = shared / "golden/checkpoints/pcdet_pointpillar"
    config = config_of(read_inputs(folder), "openpcdet", "here")
    imported = import_network(folder / "checkpoint.pth", config=config, origin="here")
    store.save("mine", imported, force=False)
    return imported, folder


@torch.no_grad()
def test_a_kept_network_gives_the_same_taps(kept):
    imported, folder = kept
    network = load("mine")
    cases, skipped = read_cases(folder, None)
    assert [case.name for case in cases] == ["synthetic"] and "--data-root" in skipped[0]
    batch = batch_of(cases[0].points)
    expected, found = (net(net.prepare(batch)) for net in (imported.network, network))
    assert network.encoder.padding == 32 and isinstance(network.encoder, PillarEncoder)
    for name in ("neck", "head.cls", "head.box", "head.dir"):
        assert torch.equal(expected[name], found[name])


@torch.no_grad()
def test_its_graph_pads_as_it_does(kept):
    imported, folder = kept
    (case,), _ = read_cases(folder, None)
    network = copy.deepcopy(imported.network)
    inputs = network.prepare(batch_of(case.points))
    expected = network(inputs)["head.cls"]
    fold_norms(network, lambda: network(inputs))
    graph = network.graph()
    found, *_ = graph(*graph.inputs(inputs).values())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    network.encoder.padding = 0
    without, *_ = graph(*graph.inputs(inputs).values())
    assert (without - expected).abs().max() > 0.1
    assert graph.card["max_points"] == 32


def test_what_is_not_there_or_damaged_is_told(kept):
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        load("mime")
    weights = folder("mine") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be used as weights"):
        load("mine")
    (folder("mine") / "network.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        load("mine")

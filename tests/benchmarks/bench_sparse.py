"""Sparse convolution on about 60,000 voxels of four frames, ours and spconv's, on one CPU thread.

Times are of one thread's own work, which other programs hardly disturb; both sides take turns.
Real frames where there are any, else generated ones.

pytest tests/benchmarks/bench_sparse.py -s
"""

import os
import statistics
import sys
import time
from pathlib import Path
from subprocess import run

import pytest
import torch

from kdbench.dataset import collate
from kdbench.datasets.kitti import Kitti
from kdbench.detectors.layers.sparse_encoder import SparseEncoder
from kdbench.detectors.second import FULL_RANGE
from kdbench.measure.inputs import generated
from kdbench.measure.memory import PeakMemory
from kdbench.ops.sparse import SparseTensor, SubMConv3d
from kdbench.ops.voxelise import Grid, voxelise

FRAMES, SHAPE = 4, (41, 1600, 1408)
ROUNDS = 7
WIDTHS = [16, 32, 64]
CASES = [*map(str, WIDTHS), "encoder"]


def cells(folder: Path | None):
    """Mean points (n, 4) and coordinates (n, 4) of the voxels of four frames."""
    points = [generated(FULL_RANGE, FRAMES).batches[i].points.clone() for i in range(FRAMES)]
    if folder is not None:
        dataset = Kitti(root=folder)
        points = [collate([dataset.frame(i)]).points for i in dataset.ids("train")[::30]]
    for i, cloud in enumerate(points):
        cloud[:, 0] = i
    voxels = voxelise(torch.cat(points), Grid(FULL_RANGE, (0.05, 0.05, 0.1)), FRAMES)
    return voxels.features, voxels.coordinates


def sides(case: str, features, coordinates) -> dict:
    """Forward passes of a layer with so many channels, or of the encoder, by library.

    Rules are found anew each time.
    """
    torch.manual_seed(0)
    if case == "encoder":
        network = SparseEncoder(4, (16, 32, 64, 64), 128, 0.01).eval()
    else:
        network = SubMConv3d(int(case), int(case))
        features = torch.randn(len(features), int(case))
    passes = {"ours": lambda: network(SparseTensor(features, coordinates, SHAPE, FRAMES))}
    try:
        import spconv.pytorch as spconv
    except ImportError:
        return passes
    theirs, sites = in_spconv(network, spconv), coordinates.int()

    def forward():
        out = theirs(spconv.SparseConvTensor(features, sites, list(SHAPE), FRAMES))
        return out.dense() if case == "encoder" else out

    return passes | {"spconv": forward}


def in_spconv(network, spconv):
    """The same network in spconv's layers, with the same weights."""
    layers = []
    blocks = network.blocks if isinstance(network, SparseEncoder) else [network]
    for block in blocks:
        conv = getattr(block, "conv", block)
        outputs, *kernel, inputs = conv.weight.shape
        if isinstance(conv, SubMConv3d):
            layer = spconv.SubMConv3d(inputs, outputs, 3, bias=False, indice_key=f"{stage(layers)}")
        else:
            layer = spconv.SparseConv3d(inputs, outputs, kernel, *conv.sizes[1:], bias=False)
        layer.weight.data.copy_(conv.weight.data)
        layers += [layer, block.norm, torch.nn.ReLU()] if block is not conv else [layer]
    return spconv.SparseSequential(*layers).eval()


def stage(layers) -> int:
    """How many strided layers came before: layers at the same cells share their rules."""
    return sum(type(layer).__name__ == "SparseConv3d" for layer in layers)


def timed(function) -> float:
    started = time.thread_time()
    function()
    return time.thread_time() - started


@pytest.fixture
def folder(request):
    try:
        return request.getfixturevalue("shared") / "kitti"
    except pytest.skip.Exception:
        return None


@pytest.mark.parametrize("case", CASES)
def test_forward(benchmark, one_thread, folder, case):
    features, coordinates = cells(folder)
    passes = sides(case, features, coordinates)
    times = {name: [] for name in passes}

    def one_round():
        for name, forward in passes.items():
            times[name].append(timed(forward))

    with torch.no_grad():
        benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    found = {name: 1e3 * statistics.median(values[1:]) for name, values in times.items()}
    benchmark.extra_info |= {"voxels": len(features), "milliseconds": found}
    print(f"\n{case}, {len(features):,} voxels: {described(found, 'ms')}")


@pytest.mark.parametrize("case", CASES)
def test_peak_memory(folder, case):
    found = {}
    for name in sides(case, *cells(folder)):
        command = [sys.executable, __file__, case, name, str(folder or "")]
        output = run(command, check=True, capture_output=True, text=True).stdout
        found[name] = int(output.split()[-1]) / 1e6
    print(f"\n{case}: {described(found, 'MB above the input')}")


def described(found: dict[str, float], unit: str) -> str:
    text = ", ".join(f"{name} {value:.1f} {unit}" for name, value in found.items())
    return f"{text}; ratio {found['ours'] / found['spconv']:.2f}" if "spconv" in found else text


def print_peak(case: str, name: str, folder: str) -> None:
    """Bytes that a first forward pass takes beyond what was there before it."""
    torch.set_num_threads(1)
    forward = sides(case, *cells(Path(folder) if folder else None))[name]
    memory = PeakMemory("cpu")
    memory.start()
    before = memory.stop()["bytes"]
    with torch.no_grad():
        forward()
    print(memory.stop()["bytes"] - before)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print_peak(*sys.argv[1:])

"""What a GPU would run, on a machine without one: tests marked `cuda`, on a device that is faked.

It shows that all tensors of a computation are on one device, that results are those of the CPU,
that nothing waits in a CUDA graph, and how often the host waits. Not how long anything takes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FAKE = HERE / "fake_cuda"

pytestmark = [
    pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA of its own"),
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="no g++"),
]
COMPILE = ["g++", "-shared", "-fPIC", "-std=c++20", "-O1"]


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> Path:
    """The fake device, built against this torch."""
    if subprocess.run([*COMPILE, "-x", "c++", "-fsyntax-only", os.devnull]).returncode != 0:
        pytest.skip("this g++ does not know C++20")
    built = tmp_path_factory.mktemp("fake") / "device.so"
    torch_folder = Path(torch.__file__).parent
    libraries = torch_folder / "lib"
    command = [*COMPILE, f"-I{torch_folder / 'include'}", FAKE / "device.cpp"]
    command += [f"-L{libraries}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{libraries}", "-o", built]
    subprocess.run(command, check=True)
    return built


@pytest.mark.parametrize(
    "names", ["ops geometry datasets", "detectors measure fake_cuda", "training"]
)
def test_on_a_fake_gpu(device, names):
    paths = [HERE / name for name in names.split()]
    plugins = ["-p", "fake_cuda", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "-m", "cuda", "-q", *paths]
    found = os.environ | {"FAKE_CUDA": str(device), "PYTHONPATH": str(FAKE)}
    run = subprocess.run(command, env=found, capture_output=True, text=True, cwd=HERE.parent)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]

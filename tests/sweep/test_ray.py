"""A sweep on a Ray cluster of two nodes, one of which dies on the way."""

import json
import time

import pytest

from kdbench.runs.settings import build_spec
from kdbench.sweep.plan import DONE, FAILED, Cell
from kdbench.sweep.schedule import Schedule

ray = pytest.importorskip("ray")

# A cell that takes a while, notes where it began, and ends with a record.
SLOW_CELL = """
import json, os, sys, time
place, key = sys.argv[1:]
with open(f"{place}/{key}.begun", "a") as file:
    file.write(os.environ["RAY_NODE"] + "\\n")
time.sleep(4)
with open(f"{place}/{key}.json", "w") as file:
    json.dump({"hash": key}, file)
"""


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of this machine with a core each, besides a head that runs nothing."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_cells_of_a_dead_node_are_run_elsewhere(cluster, tmp_path, monkeypatch):
    from kdbench.sweep import ray_engine

    made, nodes = cluster
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    script = tmp_path / "cell.py"
    script.write_text(SLOW_CELL)
    monkeypatch.setattr(
        ray_engine,
        "command",
        lambda cell, *_: ["sh", "-c", f"RAY_NODE=$PPID python {script} {tmp_path} {cell.key}"],
    )
    cells = [Cell(build_spec(seed=seed)) for seed in range(4)]
    engine = ray_engine.RayEngine(tmp_path, jobs=4, cpus=1)
    begun = time.monotonic()

    def kill_one_node_when_both_work():
        working = len(list(tmp_path.glob("*.begun")))
        if working >= 2 and len(nodes) == 2:
            made.remove_node(nodes.pop(), allow_graceful=False)
        assert time.monotonic() - begun < 120

    def find(cell):
        path = tmp_path / f"{cell.key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    Schedule(cells, engine, find, kill_one_node_when_both_work).run()
    assert [cell.state for cell in cells] == [DONE] * 4
    attempts = [len((tmp_path / f"{c.key}.begun").read_text().split()) for c in cells]
    assert sum(attempts) > 4  # one was begun a second time


@pytest.mark.slow
def test_a_cell_that_fails_on_the_cluster_is_a_failure(cluster, tmp_path, monkeypatch):
    from kdbench.sweep import ray_engine

    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ray_engine, "command", lambda *_: ["sh", "-c", "echo too bad; exit 1"])
    cell = Cell(build_spec())
    Schedule([cell], ray_engine.RayEngine(tmp_path), lambda c: None).run()
    assert (cell.state, cell.reason, cell.attempts) == (FAILED, "too bad", 2)

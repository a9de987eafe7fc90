"""Cells as tasks of a Ray cluster (extra `ray`).

All nodes must see the results folder and KDBENCH_HOME under the same paths. A cell whose worker or
node dies is run again elsewhere, from its last checkpoint.
"""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.sweep.local import command, die_with_parent, last_line, log_path
from kdbench.sweep.plan import Cell

RESCHEDULED = 3  # times that a cell may lose its worker


@dataclass
class RayEngine:
    """At most `jobs` tasks at a time, each with `cpus` cores and `gpus` GPUs of a node."""

    results: Path
    data_root: str | None = None
    plugins: tuple[str, ...] = ()
    jobs: int = 1
    address: str | None = None  # of a cluster; None starts one on this machine
    cpus: float = 1
    gpus: float = 0
    device: str = "cpu"  # of teachers; what else there is says where it runs
    transfer: str | None = None  # a KITTI tree on whose frames all runs are scored too
    trace: bool = False  # write down how distillation pulls at the students
    running: dict = field(default_factory=dict)

    def __post_init__(self):
        try:
            import ray
        except ImportError:
            raise UsageError("--engine ray: Ray is not there; pip install 'kdbench[ray]'") from None
        self.ray = ray
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        self.task = ray.remote(run_command).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RESCHEDULED
        )

    def free(self) -> bool:
        return len(self.running) < self.jobs

    def start(self, cell: Cell) -> None:
        results = self.results.resolve()
        line = command(self, cell, results)
        home = {key: value for key, value in os.environ.items() if key.startswith("KDBENCH_")}
        environment = home | {"OMP_NUM_THREADS": str(max(1, int(self.cpus)))}
        reference = self.task.remote(line, str(log_path(cell).resolve()), environment, os.getcwd())
        self.running[reference] = cell

    def finished(self) -> list[tuple[Cell, int, str]]:
        ready, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
        return [self._ended(reference) for reference in ready]

    def _ended(self, reference) -> tuple[Cell, int, str]:
        cell = self.running.pop(reference)
        try:
            return cell, self.ray.get(reference), last_line(cell)
        except self.ray.exceptions.RayError as error:
            return cell, 1, f"lost by Ray: {str(error).splitlines()[0]}"

    def stop(self) -> None:
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.running = {}


def run_command(line: list[str], log: str, environment: dict[str, str], folder: str) -> int:
    """Runs a cell's command on the node of a task; returns its exit code."""
    with open(log, "ab") as file:
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=folder,
            env=os.environ | environment, preexec_fn=die_with_parent, check=False,
        ).returncode  # fmt: skip

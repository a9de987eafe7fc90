"""Cells as processes of this machine, so that a crash costs one cell."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.runs.store import run_folder
from kdbench.storage.files import write_text
from kdbench.sweep.plan import Cell

STOP_SECONDS = 30  # for a cell to save itself
SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


@dataclass
class LocalEngine:
    """At most `jobs` processes at a time; job k runs on GPU k modulo `gpus`."""

    results: Path
    data_root: str | None = None
    plugins: tuple[str, ...] = ()
    jobs: int = 1
    gpus: int = 0
    device: str = "cpu"  # of teachers; what else there is says where it runs
    transfer: str | None = None  # a KITTI tree on whose frames all runs are scored too
    trace: bool = False  # write down how distillation pulls at the students
    running: list[tuple[Cell, subprocess.Popen, int]] = field(default_factory=list)

    def free(self) -> bool:
        return len(self.running) < self.jobs

    def start(self, cell: Cell) -> None:
        slot = min(set(range(self.jobs)) - {slot for *_, slot in self.running})
        environment = dict(os.environ)
        # Threads of several trainings on one machine wait for each other.
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // self.jobs)))
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = visible_gpus(self.gpus)[slot % self.gpus]
        with log_path(cell).open("ab") as log:
            process = subprocess.Popen(
                command(self, cell, self.results),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment, preexec_fn=die_with_parent,
            )  # fmt: skip
        self.running.append((cell, process, slot))

    def finished(self) -> list[tuple[Cell, int, str]]:
        ended = [(cell, p.poll(), last_line(cell)) for cell, p, _ in self.running]
        self.running = [entry for entry in self.running if entry[1].poll() is None]
        return [(cell, code, said) for cell, code, said in ended if code is not None]

    def stop(self) -> None:
        for _, process, _ in self.running:
            process.terminate()
        for _, process, _ in self.running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self.running = []


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def visible_gpus(count: int) -> list[str]:
    """The names of `count` GPUs for CUDA_VISIBLE_DEVICES: those this process is given, if any."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in given.split(",")] if given else [str(k) for k in range(count)]


def command(engine, cell: Cell, results: Path) -> list[str]:
    """The command line of a cell in an engine; its spec goes by a file."""
    path = run_folder(cell.spec) / "spec.json"
    write_text(path, json.dumps(cell.spec.to_dict(), indent=1))
    # -P: this kdbench, even where the sweep is started in a folder that holds another.
    line = [sys.executable, "-P", "-m", "kdbench", "run"]
    line += ["--spec", str(path), "--results", str(results)]
    line += ["--data-root", engine.data_root] if engine.data_root else []
    line += ["--transfer", engine.transfer] if engine.transfer else []
    line += ["--trace"] if engine.trace else []
    line += ["--device", engine.device] if cell.spec.is_teacher else []
    return [*line, *(x for plugin in engine.plugins for x in ("--plugin", plugin))]


def log_path(cell: Cell) -> Path:
    """What a cell says goes here."""
    folder = run_folder(cell.spec)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "sweep.log"


def last_line(cell: Cell) -> str:
    """The last line a cell has said."""
    path = log_path(cell)
    text = path.read_text(errors="replace").strip() if path.exists() else ""
    return text.splitlines()[-1] if text else ""


def die_with_parent() -> None:
    """A sweep that is killed takes its cells along (Linux): no two of one run, once it restarts."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)

"""A process that has imported all that commands need, and forks one for each that is asked for.

python -m tests.kills.server

A line of JSON on standard input holds the `arguments` of a command line, the `folder` it runs in,
and what befalls it: see `answered`. A command that is killed costs what it did until then, and no
import.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kdbench.cli import COMMANDS, main
from kdbench.training import loop, tuning
from tests.kills.disk import fill
from tests.writes import about_to_write

STOPPED = 130  # exit code of a command that a signal asked to end
LONGEST = 3600  # seconds of a command, whatever else the machine does
LOOK = 0.002  # seconds between two looks at a process
IMPORTED = ("run", "sweep", "tune", "report", "import")
MODULES = (
    "kdbench.cli.data_synth",
    "kdbench.datasets.kitti",
    "kdbench.datasets.synthetic.dataset",
    "kdbench.detectors.pointpillars",
    "kdbench.methods.kd",
    "kdbench.methods.none",
    "torch._dynamo",  # which optimisers import
)


@dataclass
class Process:
    """A command under way, what it has written, and what it says."""

    id: int
    writes: IO[bytes]
    said: IO[bytes]


def serve() -> None:
    """Runs until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in (*(COMMANDS[name][0].split(":")[0] for name in IMPORTED), *MODULES):
        importlib.import_module(module)
    loop.SAVE_SECONDS, loop.LOG_STEPS = 0.0, 1  # so that there is something to go on from
    tuning.PROBE_STEPS, tuning.PROBE_EVERY = 4, 2
    for line in sys.stdin:
        print(json.dumps(answered(**json.loads(line))), file=answers, flush=True)


def answered(
    arguments: list[str], folder: str, times: int = 1, seconds: float | None = None,
    write: int | None = None, full: int | None = None, how: int = signal.SIGKILL,
) -> list[dict]:  # fmt: skip
    """Runs a command line in a folder, so many `times` at once, and says how each ended.

    It is killed by the signal `how` after so many `seconds`, or before its write number `write`;
    before number `full` its disk fills up. Of each: the exit `code`, below 0 for a signal; its
    `seconds`; the paths of its `writes`, unless it was killed; the lines it `said`.
    """
    happens = {}
    if write is not None:
        happens[write] = lambda: os.kill(os.getpid(), how)
    if full is not None:
        happens[full] = lambda: fill(Path(folder))
    began = time.monotonic()
    started = [_forked(arguments, Path(folder), happens) for _ in range(times)]
    return [_ended(process, began, seconds, how) for process in started]


def _forked(arguments: list[str], folder: Path, happens: dict) -> Process:
    writes, said = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
    process = os.fork()
    if process:
        return Process(process, writes, said)
    written: list[str] = []
    code = STOPPED  # where it is before the command has begun, or after it has ended
    try:
        _enter(folder, said)
        _watch(folder, happens, written)
        main(arguments)
    except SystemExit as stop:
        code = stop.code
    finally:
        writes.write(json.dumps(written).encode())
        writes.flush()
        os._exit(code)


def _enter(folder: Path, said: IO[bytes]) -> None:
    """Makes a process one that was started in a folder, and that speaks to a file."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is none
    os.chdir(folder)
    Path("tmp").mkdir(exist_ok=True)
    os.environ |= {"KDBENCH_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    for descriptor in (1, 2):
        os.dup2(said.fileno(), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(d, "w", buffering=1) for d in (1, 2))


def _watch(folder: Path, happens: dict, written: list[str]) -> None:
    """Notes the paths below `folder` that are written; what `happens` does, by number."""
    happening = []

    def look(event: str, arguments: tuple) -> None:
        paths = [os.path.abspath(path) for path in about_to_write(event, arguments)]
        below = [path for path in paths if path.startswith(f"{folder}/")]
        if below and not happening:
            happening.append(True)
            happens.get(len(written), lambda: None)()
            happening.pop()
            written.append(os.path.relpath(below[-1], folder))

    sys.addaudithook(look)


def _ended(process: Process, began: float, seconds: float | None, how: int) -> dict:
    """Waits for a process, and kills it at its time."""
    code, killed = None, seconds is None
    while code is None:
        found, status = os.waitpid(process.id, os.WNOHANG)
        passed = time.monotonic() - began
        if found:
            code = os.waitstatus_to_exitcode(status)
        elif passed > LONGEST:
            os.kill(process.id, signal.SIGKILL)
        elif not killed and passed > seconds:
            os.kill(process.id, how)
            killed = True
        else:
            time.sleep(LOOK)
    lines = _read(process.said).decode(errors="replace").splitlines()
    writes = json.loads(_read(process.writes) or b"[]")
    return {"code": code, "seconds": passed, "writes": writes, "said": lines}


def _read(file: IO[bytes]) -> bytes:
    with file:
        file.seek(0)
        return file.read()


if __name__ == "__main__":
    serve()

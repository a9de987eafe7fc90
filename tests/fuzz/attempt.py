"""One input: made, read by its command in this process, and judged."""

import contextlib
import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kdbench.cli import main
from tests.writes import about_to_write

SECONDS, BYTES = 2.0, 10**9
CODES = range(6)
LONGEST = 20  # seconds of processor, after which the process is killed
# How a line on standard error may begin; `error` once.
SAID = re.compile(r"error: |note: |warning: |left out: |wrote |\d+ files of .* were left out")
LEAK = re.compile(r"Traceback|Warning: |^  File ")
HARMLESS = (os.devnull, "/proc/self/clear_refs")

_written: list[str] | None = None  # paths, while a command runs


def attempt(kind, base: Path, folder: Path, seed: int, number: int) -> dict:
    """Tries input `number` of a kind in `folder`, a copy of `base` that is changed."""
    _copy(base, folder)
    kind.change(folder, np.random.default_rng([seed, number, *type(kind).__name__.encode()]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is counted from here
    started = time.process_time()
    with _alarm(), _writes() as written:
        code, out, err = _run(kind.arguments(folder))
    seconds, peak = time.process_time() - started, _peak()
    faults = list(_rules(code, out, err, kind))
    if seconds > SECONDS:
        faults.append(f"took {seconds:.1f} s")
    if peak > BYTES:
        faults.append(f"took {peak / 1e9:.1f} GB")
    faults += [
        f"wrote {p}" for p in written if not Path(os.path.realpath(p)).is_relative_to(folder)
    ]
    faults += [f"misread: {found}" for found in _misread(kind, folder, out) if code == 0]
    out = out.replace(str(folder), "")  # of a fresh process it is another
    return {"number": number, "code": code, "out": out, "faults": faults}


def warm(kind, base: Path, folder: Path) -> None:
    """Runs the command once on good files, which imports and compiles all that it needs."""
    _copy(base, folder)
    code, out, err = _run(kind.arguments(folder))
    misread = None if code else kind.misread(folder, out)
    if code or misread:
        raise RuntimeError(f"good files end with {code}: {misread or err}")


def _copy(base: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    os.environ["KDBENCH_HOME"] = str(folder / "home")


def _run(arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def _misread(kind, folder: Path, out: str) -> Iterator[str]:
    try:
        if found := kind.misread(folder, out):
            yield found
    except Exception as error:  # of the plain reading: it is stricter than the command
        yield f"{type(error).__name__}: {error}"


def _rules(code: int, out: str, err: str, kind) -> Iterator[str]:
    """What is wrong with how a command ended."""
    lines = err.splitlines()
    if code not in CODES:
        yield f"ended with {code}: {' '.join(lines[-1:])}"
    for line in out.splitlines() + lines:
        if LEAK.search(line):
            yield f"printed {line!r}"
    for line in lines:
        if not (SAID.match(line) or (kind.said and re.search(kind.said, line))):
            yield f"said {line!r}"
    errors = sum(line.startswith("error: ") for line in lines)
    if code and errors != kind.errors:
        yield f"{errors} lines of error"


def watch_writes() -> None:
    """Has every file that Python writes, moves or removes noted down while a command runs."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple) -> None:
    if _written is not None:
        _written.extend(about_to_write(event, arguments))


@contextlib.contextmanager
def _writes() -> Iterator[list[str]]:
    """The paths written meanwhile, without what Python and numba keep of what they compile."""
    global _written
    kept: list[str] = []
    _written = []
    try:
        yield kept
    finally:
        found, _written = _written, None
        kept += [p for p in found if "__pycache__" not in p and p not in HARMLESS]


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _peak() -> int:
    """The most memory that was resident, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

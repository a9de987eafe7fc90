"""The workers that try inputs: one that stays warm, and fresh ones to hold it against."""

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRESH = 100  # one input in so many goes through a process of its own too
PATIENCE = 300  # seconds without an answer, whatever else the machine does
CRASHED = 70


class Worker:
    """A process that tries inputs of a kind, in a folder of its own."""

    def __init__(self, kind: str, seed: int):
        self.folder = tempfile.TemporaryDirectory(prefix="kdbench-fuzz-")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", kind, str(seed), self.folder.name],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def try_input(self, number: int) -> dict | None:
        """What came of an input; None when the process did not survive it."""
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        return json.loads(line) if line else None


def verdicts(kind: str, seed: int, numbers: Iterable[int]) -> Iterator[dict]:
    """What came of each input: `number`, `code`, `faults`, a line each, and `out`."""
    worker = Worker(kind, seed)
    try:
        for number in numbers:
            found = worker.try_input(number)
            if found is None:
                worker.__exit__()
                how = worker.process.returncode
                found = {"number": number, "code": CRASHED, "out": "",
                         "faults": [f"its process ended with {how}, or took too long"]}  # fmt: skip
                worker = Worker(kind, seed)
            if number % FRESH == FRESH - 1:
                _hold_against_fresh(found, kind, seed)
            yield found
    finally:
        worker.__exit__()


def _hold_against_fresh(found: dict, kind: str, seed: int) -> None:
    with Worker(kind, seed) as fresh:
        alone = fresh.try_input(found["number"]) or {"code": CRASHED, "out": ""}
    if (alone["code"], alone["out"]) != (found["code"], found["out"]):
        found["faults"].append(f"a fresh process ends with {alone['code']}, or prints other things")

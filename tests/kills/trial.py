"""A command that is killed, run again, and held against one that was not."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kills.commands import COMMANDS
from tests.kills.disk import FILLER
from tests.kills.outcome import damaged, differences, left_over, outcome

ROOT = Path(__file__).resolve().parents[2]
STOPPED = 130  # exit code of a command that a signal asked to end
FULL = (1, 4)  # of one whose disk is full
ROOM = "make room there, and the same command goes on"  # what it is told to do


class Server:
    """The process that commands are forked from."""

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.server"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, **request) -> list[dict]:
        """What `server.answered` says."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@dataclass
class Trials:
    """Trials of one command. `whole` is what it leaves undisturbed."""

    name: str
    base: Path
    server: Server
    whole: dict[str, Any] = field(init=False)
    seconds: float = field(init=False)
    writes: list[str] = field(init=False)  # the paths, in order
    kills: int = 0  # of processes that were killed in time
    left: int = 0  # temporary files that are there when the command has ended at last

    def __post_init__(self):
        folder = self._folder()
        (found,) = self._run(folder)
        if found["code"]:
            raise RuntimeError(f"{self.name} ends with {found}")
        self.whole, self.seconds, self.writes = outcome(folder), found["seconds"], found["writes"]

    def killed(self, *moments: dict, how: int = signal.SIGKILL) -> list[str]:
        """What is wrong after a command was killed at moments, one after the other, and ended.

        A moment is `{"seconds": 1.5}`, or `{"write": 7}`: before the seventh file is touched.
        """
        folder, faults = self._folder(), []
        for moment in moments:
            (found,) = self._run(folder, **moment, how=how)
            if found["code"] in (-how, STOPPED):
                self.kills += 1
            elif found["code"] and not self._done_before(found):
                faults.append(f"ended with {found['code']} at {moment}: {found['said'][-3:]}")
            faults += [f"after {moment}: {fault}" for fault in damaged(folder, self.whole)]
        return faults + self._finished(folder)

    def together(self, times: int = 2) -> list[str]:
        """What is wrong after the same command ran several times at once."""
        folder = self._folder()
        ends = self._run(folder, times=times)
        bad = [end for end in ends if end["code"] and not self._done_before(end)]
        wrong = [f"ended with {end['code']}: {end['said'][-3:]}" for end in bad]
        return wrong + differences(outcome(folder), self.whole)

    def full(self, write: int) -> list[str]:
        """What is wrong when the disk fills up before a write, and is emptied once it has ended."""
        folder = self._folder()
        (found,) = self._run(folder, full=write)
        (folder / FILLER).unlink()
        faults = list(_told(found, folder))
        faults += damaged(folder, self.whole) + [f"{p}: is left" for p in left_over(folder)]
        faults += self._finished(folder)
        shutil.rmtree(folder)
        return faults

    def _finished(self, folder: Path) -> list[str]:
        (found,) = self._run(folder)
        if found["code"] and not self._done_before(found):
            return [f"the command afterwards ends with {found['code']}: {found['said'][-3:]}"]
        self.left += len(left_over(folder))
        return differences(outcome(folder), self.whole)

    def _done_before(self, found: dict) -> bool:
        """An import that comes after another, or was killed at its end, is told so."""
        return self.name == "import" and any("is there already" in line for line in found["said"])

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.base))
        COMMANDS[self.name].make(folder)
        return folder

    def _run(self, folder: Path, **happens) -> list[dict]:
        arguments = COMMANDS[self.name].arguments
        return self.server.ask(arguments=arguments, folder=str(folder), **happens)


def _told(found: dict, folder: Path) -> Iterator[str]:
    """What is wrong with how a command ended whose disk was full."""
    errors = [line for line in found["said"] if line.startswith("error: ")]
    if found["code"] not in FULL or len(errors) != 1:
        yield f"ended with {found['code']}: {found['said'][-3:]}"
    for line in errors:
        if not (str(folder) in line or "out/" in line) or ROOM not in line:
            yield f"said {line!r}"
    if leaked := [line for line in found["said"] if "Traceback" in line or "Exception" in line]:
        yield f"printed {leaked[0]!r}"

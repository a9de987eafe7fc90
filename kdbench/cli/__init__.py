"""The `kdbench` command: one small file per sub-command."""

import errno
import importlib
import os
import sys
import traceback
import warnings

import click
from rich.console import Console

from kdbench import __version__
from kdbench.cli.output import encodable_streams
from kdbench.errors import KdbenchError, Note, UsageError
from kdbench.measure.allocator import keep_freed
from kdbench.measure.waiting import wait_briefly
from kdbench.storage.files import FULL, CannotWrite
from kdbench.storage.home import cache_compiled

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

# Sub-command -> where its click command stands. Loaded only when asked for, so that
# `kdbench --help` does not import torch.
COMMANDS = {
    "run": ("kdbench.cli.run:run", "Train and measure a student with a method."),
    "sweep": ("kdbench.cli.sweep:sweep", "Run many cells; go on after a crash."),
    "tune": ("kdbench.cli.tune:tune", "Find the factor on a method's losses."),
    "report": ("kdbench.cli.report:report", "Print and write the leaderboard."),
    "show": ("kdbench.cli.show:show", "Draw what a run detects in single frames."),
    "power": ("kdbench.cli.power:power", "Seeds and frames needed to see a gain."),
    "compare": ("kdbench.cli.compare:compare", "Fail when results became worse."),
    "zoo": ("kdbench.cli.zoo:zoo", "What is published with kdbench; verify and publish."),
    "transfer": ("kdbench.cli.transfer:transfer_command", "Score finished runs on real frames."),
    "rescore": ("kdbench.cli.rescore:rescore", "Compute metrics anew from kept detections."),
    "list": ("kdbench.cli.list:list_", "List methods, detectors or data sets."),
    "new": ("kdbench.cli.new:new", "Write a plugin package to start from."),
    "check": ("kdbench.cli.check:check", "Check that a plugin keeps its contract."),
    "cost": ("kdbench.cli.cost:cost", "Parameters and MACs of a detector, untrained."),
    "step-cost": ("kdbench.cli.step_cost:step_cost_command", "Time training steps by method."),
    "latency": ("kdbench.cli.latency:latency", "Inference latency of a detector."),
    "predict": ("kdbench.cli.predict:predict", "Detect with a trained run; write KITTI results."),
    "import": ("kdbench.cli.import_:import_", "Take in a network trained elsewhere."),
    "export": ("kdbench.cli.export:export_command", "Write a trained run as ONNX or pt2."),
    "evaluate": ("kdbench.cli.evaluate:evaluate", "Score a folder of KITTI result files."),
    "data": ("kdbench.cli.data:data", "Make, verify and compare data sets."),
    "doctor": ("kdbench.cli.doctor:doctor", "Versions, devices, extras, data found."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are used."""

    def __init__(self, commands: dict[str, tuple[str, str]], **kwargs):
        super().__init__(**kwargs)
        self.table = commands

    def list_commands(self, ctx) -> list[str]:
        return [*self.table]  # `list` is a module of this package once its command is loaded

    def get_command(self, ctx, name):
        if name not in self.table:
            # Here, since the registry knows the contracts, which import torch.
            from kdbench.registry.suggest import unknown

            raise UsageError(unknown("command", name, self.table))
        module, attribute = self.table[name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx, formatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


@click.group(cls=LazyGroup, commands=COMMANDS)
@click.version_option(__version__, prog_name="kdbench")
@click.option("--debug", is_flag=True, help="Show the stack trace of an error.")
def group(debug: bool) -> None:
    """Benchmark knowledge distillation for LiDAR 3D object detection."""


def main(arguments: list[str] | None = None) -> None:
    """The console script: runs a command; an error is one line and an exit code."""
    keep_freed()
    wait_briefly()
    encodable_streams()
    cache_compiled()
    _print_notes()
    arguments = sys.argv[1:] if arguments is None else arguments
    # `--debug` is taken anywhere on the line.
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        code = group.main(arguments, prog_name="kdbench", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped; the same command goes on from here")
        sys.exit(130)
    except KdbenchError as error:
        if debug:
            traceback.print_exc()
        _complain(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        _drop_output()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in (*FULL, *FORBIDDEN):
            if error.errno in FULL and error.filename:
                error = CannotWrite.at(error.filename, error)
            else:
                error = f"{error.filename or 'standard output'}: {error.strerror}"
            _complain(str(error))
            _drop_output()
            sys.exit(1)
        _complain(f"unexpected {type(error).__name__}: {error} (run with --debug to see where)")
        sys.exit(70)


def _drop_output() -> None:
    """What is left of standard output goes nowhere: Python would fail at it again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file
        return


def _print_notes() -> None:
    """Has each `Note` printed as one line; other warnings are shown as always."""
    warnings.simplefilter("always", Note)
    others = warnings.showwarning

    def show(message, category, *rest, **named) -> None:
        if issubclass(category, Note):
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                f"note: {message}", markup=False
            )
        else:
            others(message, category, *rest, **named)

    warnings.showwarning = show


def _complain(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"error: {message.strip()}", markup=False
    )

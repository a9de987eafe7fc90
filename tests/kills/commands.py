"""The commands that are killed, as small as they can be: what each needs, and its command line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from kdbench.runs.records import write_record
from kdbench.runs.settings import build_spec
from tests.cli.conftest import narrow_pointpillar
from tests.conftest import write_tree
from tests.leaderboard.conftest import make_record

SMALL = "--profile tiny --dataset kitti --data-root kitti"
STEPS = "--set train.steps=2 --set train.batch_size=2 --set teacher.steps=2"
FRAMES = {"train": ["000000", "000001", "000004"], "val": ["000002"]}


@dataclass(frozen=True)
class Command:
    """A command line in a folder, and what has to stand there before."""

    line: str
    make: Callable[[Path], object] = lambda folder: None

    @property
    def arguments(self) -> list[str]:
        """The words of the line."""
        return self.line.split()


def _tree(folder: Path) -> None:
    write_tree(folder / "kitti", FRAMES)


def _records(folder: Path) -> None:
    spec = build_spec(method="kd", ratio=4.0)
    for run, bev in ((spec, 45.0), (spec.baseline(), 40.0), (spec.teacher_run(), 60.0)):
        write_record(folder / "results", make_record(run, bev) | {"date": None})


def _checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save({"model_state": narrow_pointpillar()}, folder / "file.pth")
    values = {"DATA_CONFIG": {"POINT_CLOUD_RANGE": [0, -5.12, -3, 10.24, 5.12, 1]}}
    (folder / "small.yaml").write_text(yaml.safe_dump(values))


COMMANDS = {
    "synth": Command("data synth --out out --frames 4 --val 1 --workers 1"),
    "report": Command("report --results results --out out --no-pictures", _records),
    "import": Command("import file.pth --out net --config small.yaml", _checkpoint),
    "run": Command(f"run --method kd --ratio 1024 --trace --quiet {SMALL} {STEPS}", _tree),
    "tune": Command(f"tune kd --ratio 1024 --share 0.1 --steps 2 --quiet {SMALL} {STEPS}", _tree),
    "sweep": Command(
        f"sweep --methods none --ratios 1024 --seeds 1 --jobs 1 {SMALL} {STEPS}", _tree
    ),
}

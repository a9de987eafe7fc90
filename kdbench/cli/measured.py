"""What `kdbench cost` and `kdbench latency` share: options, the detector and its input frames."""

import math
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table

from kdbench.classes import KITTI, ObjectClass, unit_sized
from kdbench.dataset import Dataset
from kdbench.errors import UsageError
from kdbench.measure.inputs import Inputs, from_dataset, generated
from kdbench.registry import detectors
from kdbench.registry.options import complete
from kdbench.registry.suggest import unknown
from kdbench.runs.network import Network, named_network
from kdbench.runs.profiles import PROFILES
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import DetectorSpec, RunSpec


def detector_options(command):
    """Adds the options that say which detector."""
    for option in reversed(
        [
            click.option("--detector", metavar="NAME", help="Which detector  [pointpillars]"),
            click.option("--ratio", type=float, metavar="R", help="Compression, >= 1  [1]"),
            click.option(
                "--profile", metavar="P", help="Options of this profile  [the published ones]"
            ),
            click.option(
                "--set", "assignments", multiple=True, metavar="KEY=VALUE",
                help="Set an option: detector.<name> or dataset.<name>; may be repeated.",
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


network_option = click.option(
    "--run", "network", metavar="NAME|RECORD", help="A trained run, or an imported network."
)


def trained(
    network: str, given: tuple, dataset: str | None, data_root: str | None
) -> tuple[Network, Dataset | None]:
    """What `--run` names, and the frames for it: those asked for, or its run's own.

    `given` are options that contradict it. An imported network has frames only if they are asked
    for.
    """
    if any(given):
        raise UsageError(
            "--run says which network; leave out --detector, --ratio, --profile and --set"
        )
    named = named_network(network)
    if dataset is None and named.kept:
        if data_root:
            raise UsageError("--data-root needs --dataset NAME")
        return named, None
    return named, open_dataset(named.on(dataset), data_root)


def input_options(command):
    """Adds the options that say on which frames."""
    for option in reversed(
        [
            click.option(
                "--dataset",
                metavar="NAME",
                help="Use its val frames  [those of --run; else generated clouds]",
            ),
            click.option("--data-root", metavar="DIR", help="Where the data set lies."),
        ]
    ):
        command = option(command)
    return command


def detector_spec(
    detector: str | None, ratio: float | None, profile: str | None, overrides: dict
) -> DetectorSpec:
    """The network asked for: published options, over them the profile's, over them `--set`."""
    name = detector or "pointpillars"
    ratio = 1.0 if ratio is None else ratio
    if profile is not None and profile not in PROFILES:
        raise UsageError(unknown("profile", profile, PROFILES))
    if not 1 <= ratio < math.inf:
        raise UsageError(f"ratio must be a number of at least 1, not {ratio:g}")
    plugin = detectors.get(name)
    options = dict(PROFILES[profile]["detectors"].get(name, {})) if profile else {}
    for key, value in overrides.items():
        section, _, option = key.partition(".")
        if section not in ("detector", "dataset") or not option:
            valid = ["detector.<name>", "dataset.<name>"]
            raise UsageError(unknown("configuration key", key, valid))
        if section == "detector":
            options[option] = value
    return DetectorSpec(name, ratio, complete(f"detector {name!r}", plugin, options))


def named_dataset(
    dataset: str | None,
    data_root: str | None,
    detector: DetectorSpec,
    profile: str | None,
    overrides: dict,
) -> Dataset | None:
    """The data set asked for, cropped to what the detector sees; None when none was."""
    if dataset is None:
        if data_root or any(key.startswith("dataset.") for key in overrides):
            raise UsageError("--data-root and --set dataset.<name> need --dataset NAME")
        return None
    for_data = {k: v for k, v in overrides.items() if k.startswith("dataset.")}
    names = {"profile": profile} if profile else {}
    spec = build_spec(dataset=dataset, detector=detector.name, overrides=for_data, **names)
    return open_dataset(replace(spec, detector=detector), data_root)


def classes_in(dataset: Dataset | None) -> tuple[ObjectClass, ...]:
    """What a new network tells apart; sizes are of no matter to what it costs."""
    return unit_sized(dataset.kinds) if dataset else KITTI


def open_dataset(spec: RunSpec, data_root: str | None) -> Dataset:
    """The data set of a run."""
    from kdbench.training.data import build_dataset

    return build_dataset(spec, data_root)


def input_frames(dataset: Dataset | None, point_range: tuple[float, ...], frames: int) -> Inputs:
    """Frames of the data set, or generated ones where there is none."""
    if dataset is None:
        return generated(point_range, frames)
    return from_dataset(dataset, frames)


def print_table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]], *notes: str):
    """A table on standard output: names on the left, figures to the right, notes below."""
    out = Console(highlight=False, soft_wrap=True, markup=False)
    out.print(title)
    table = Table(*header)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    out.print(table)
    for note in notes:
        out.print(note)

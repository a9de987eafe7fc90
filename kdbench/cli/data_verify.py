"""`kdbench data verify`: what is wrong with a data set in KITTI's layout."""

from typing import Any

import click

from kdbench.cli.output import console, json_option, write_json
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError, UsageError
from kdbench.registry.options import complete
from kdbench.registry.suggest import unknown
from kdbench.runs.settings import parse_overrides


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="How files are to be read, such as dataset.columns=5; repeatable.")  # fmt: skip
@json_option
def verify(folder: str, assignments: tuple[str, ...], json_file: str | None) -> int:
    """Read every file of the data set in DIR and print what is missing, damaged or of no use.

    DIR holds training/ and ImageSets/, as KITTI does. Exits with 0 when all is well and with 4
    when there are problems, by the rules that `kdbench run` asks a part of the files.
    """
    problems = KittiTree(root=folder, **_options(assignments)).verify()
    write_json({"folder": folder, "problems": problems}, json_file)
    if json_file != "-":
        click.echo("".join(f"{line}\n" for line in problems), nl=False)
    console.print(_summary(folder, len(problems)), markup=False, soft_wrap=True)
    return DataError.exit_code if problems else 0


def _summary(folder: str, count: int) -> str:
    if count == 0:
        return f"{folder}: all files are there and can be read"
    return f"{folder}: {count} problem{'s' if count > 1 else ''}"


def _options(assignments: tuple[str, ...]) -> dict[str, Any]:
    """How files are to be read, by options of the data set; UsageError for any other setting."""
    given, known = parse_overrides(list(assignments)), [f"dataset.{n}" for n in KittiTree.neutral]
    for key in given:
        if key not in known:
            raise UsageError(unknown("setting", key, known))
    given = {key.removeprefix("dataset."): value for key, value in given.items()}
    checked = complete("the data set", KittiTree, given)
    return {name: checked[name] for name in given}

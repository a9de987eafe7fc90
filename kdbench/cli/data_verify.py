"""`kdbench data verify`: missing and damaged files of a data set in KITTI's layout."""

import click

from kdbench.cli.output import console, json_option, write_json
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError


@click.command()
@click.argument("folder", metavar="DIR")
@json_option
def verify(folder: str, json_file: str | None) -> int:
    """Read every file of the data set in DIR and print what is missing or damaged.

    DIR holds training/ and ImageSets/, as KITTI does. Exits with 0 when all is well and with 4
    when there are problems.
    """
    problems = KittiTree(root=folder).verify()
    write_json({"folder": folder, "problems": problems}, json_file)
    if json_file != "-":
        click.echo("".join(f"{line}\n" for line in problems), nl=False)
    console.print(_summary(folder, len(problems)), markup=False, soft_wrap=True)
    return DataError.exit_code if problems else 0


def _summary(folder: str, count: int) -> str:
    if count == 0:
        return f"{folder}: all files are there and can be read"
    return f"{folder}: {count} problem{'s' if count > 1 else ''}"

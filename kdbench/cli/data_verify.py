"""`kdbench data verify`: what is wrong with a data set in KITTI's layout."""

import click

from kdbench.cli.options import dataset_options, dataset_set_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError


@click.command()
@click.argument("folder", metavar="DIR")
@dataset_set_option
@json_option
def verify(folder: str, assignments: tuple[str, ...], json_file: str | None) -> int:
    """Read every file of the data set in DIR and print what is missing, damaged or of no use.

    DIR holds training/ and ImageSets/, as KITTI does. Exits with 0 when all is well and with 4
    when there are problems, by the rules that `kdbench run` asks a part of the files.
    """
    problems = KittiTree(root=folder, **dataset_options(KittiTree, assignments)).verify()
    write_json({"folder": folder, "problems": problems}, json_file)
    if json_file != "-":
        click.echo("".join(f"{line}\n" for line in problems), nl=False)
    console.print(_summary(folder, len(problems)), markup=False, soft_wrap=True)
    return DataError.exit_code if problems else 0


def _summary(folder: str, count: int) -> str:
    if count == 0:
        return f"{folder}: all files are there and can be read"
    return f"{folder}: {count} problem{'s' if count > 1 else ''}"

"""`kdbench data compare`: how alike two data sets are."""

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.options import dataset_options, dataset_set_option
from kdbench.cli.output import console, json_option, write_json


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--split",
    "splits",
    type=click.Choice(["train", "val"]),
    multiple=True,
    default=("train", "val"),
    help="Only this split.",
)
@dataset_set_option
@json_option
@click.option("--plot", metavar="FILE.png", help="Also draw the distributions into FILE.png.")
def compare(
    a: str,
    b: str,
    splits: tuple[str, ...],
    assignments: tuple[str, ...],
    json_file: str | None,
    plot: str | None,
) -> None:
    """Compare the statistics of two KITTI trees, folders A and B.

    Both are read with the options of `--set`, classes of one's own among them. The table goes to
    standard output, unless `--json -` wants that.
    """
    from kdbench.datasets.comparison import overlap, summarise
    from kdbench.datasets.kitti import Kitti

    options = dataset_options(Kitti, assignments)
    first, second = (summarise(Kitti(root=root, **options), splits) for root in (a, b))
    for root, summary in ((a, first), (b, second)):
        _name_absent(root, summary)
    alike = {
        name: overlap(shares, second.histograms[name]) for name, shares in first.histograms.items()
    }
    rows = [(name, x, second.numbers[name]) for name, x in first.numbers.items()]
    if json_file != "-":
        Console().print(_table(a, b, rows, alike))
    write_json(
        {
            "a": a,
            "b": b,
            "splits": list(splits),
            "numbers": {name: {"a": _plain(x), "b": _plain(y)} for name, x, y in rows},
            "overlap": alike,
        },
        json_file,
    )
    if plot:
        from kdbench.datasets.comparison_plot import draw

        draw({a: first, b: second}, plot)


def _name_absent(root: str, summary) -> None:
    """A line on the classes of which there is no object: their names may be others there."""
    from kdbench.datasets.label_rules import counted

    absent = [name for name, found in summary.points_on.items() if not len(found)]
    if absent:
        others = counted(summary.others) or "none"
        text = f"warning: {root}: no {', '.join(absent)}; labels of no class: {others}"
        console.print(text, soft_wrap=True, markup=False)


def _table(a: str, b: str, rows: list, alike: dict[str, float]) -> Table:
    table = Table(title="Two data sets")
    table.add_column("")
    for heading in (a, b, "A / B"):
        table.add_column(heading, justify="right", overflow="fold")
    for name, x, y in rows:
        ratio = f"{x / y:.2f}" if y and x == x and y == y else "-"
        table.add_row(name, _shown(x), _shown(y), ratio)
    table.add_section()
    for name, share in alike.items():
        table.add_row(f"{name}: histograms' overlap", "", "", f"{share:.2f}")
    return table


def _shown(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"


def _plain(value: float) -> float | None:
    """NaN is no JSON."""
    return None if value != value else value

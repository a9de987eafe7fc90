"""`kdbench power`: how many seeds and frames it takes to see a gain."""

from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdbench.cli.output import json_option, name_left_out, write_json
from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.cells import cells_by_table
from kdbench.leaderboard.power import Noise, detectable, measured_noise, seeds_needed
from kdbench.runs.records import read_records

SEEDS = (2, 3, 5, 10, 20)
TIMES = (1, 4, 16)  # as many frames as there are


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--gain", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="In points of mAP.")  # fmt: skip
@json_option
def power(results: str, gain: float, json_file: str | None) -> None:
    """Seeds and frames needed to see a gain of x mAP, at the noise of the runs in RESULTS.

    Seen: with a probability of 80 %, at a level of 5 %.
    """
    problems: list[str] = []
    records = read_records(Path(results), problems)
    name_left_out(problems)
    answers = [
        answer
        for title, cells in cells_by_table(records).items()
        for metric in ("bev", "3d")
        if (answer := _answer(title, cells, metric, gain))
    ]
    if not answers:
        raise KdbenchError(f"{results}: needs a method and `none`, one of them with two seeds")
    write_json(answers, json_file)
    if json_file != "-":
        for answer in answers:
            Console().print(_table(answer))


def _answer(title: str, cells, metric: str, gain: float) -> dict | None:
    noise: Noise | None = measured_noise(cells, metric)
    if noise is None:
        return None
    frames = [noise.measured_on * n for n in TIMES]
    return {
        "table": title,
        "metric": metric,
        "noise": vars(noise),
        "gain": gain,
        "rows": [
            {
                "frames": f,
                "detectable": {n: round(detectable(noise, n, f), 2) for n in SEEDS},
                "seeds_needed": seeds_needed(noise, gain, f),
            }
            for f in frames
        ],
    }


def _table(answer: dict) -> Table:
    noise = answer["noise"]
    name = METRICS[answer["metric"]]
    table = Table(
        title=f"{answer['table']}\n{name} mAP: smallest gain to be seen. Standard deviation of one "
        f"run over seeds {noise['seeds'] ** 0.5:.2f}, of frames {noise['frames'] ** 0.5:.2f}",
        title_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    table.add_column("frames", justify="right")
    for n in SEEDS:
        table.add_column(f"{n} seeds", justify="right")
    table.add_column(f"seeds for {answer['gain']:g}", justify="right")
    for row in answer["rows"]:
        cells = [f"{x:.2f}" for x in row["detectable"].values()]
        table.add_row(str(row["frames"]), *cells, str(row["seeds_needed"] or "> 1000"))
    return table

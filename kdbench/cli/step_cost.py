"""`kdbench step-cost`: what a training step of each method costs beside a plain one."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.options import plugin_option
from kdbench.cli.output import json_option, name_left_out, write_json
from kdbench.errors import KdbenchError
from kdbench.measure.device import resolve_device
from kdbench.measure.environment import environment
from kdbench.runs.records import read_records
from kdbench.runs.spec import RunSpec
from kdbench.runs.step_costs import read_step_costs, step_key, write_step_costs
from kdbench.training.data import build_dataset
from kdbench.training.step_cost import TURNS, step_cost

MACHINE = ("device", "cpu", "cores", "threads", "torch")


@click.command(name="step-cost")
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--turns", type=click.IntRange(3), default=TURNS, show_default=True,
              help="Timed steps of each side.")  # fmt: skip
@click.option("--again", is_flag=True, help="Time what was timed before, too.")
@plugin_option
@json_option
def step_cost_command(results, data_root, turns, again, json_file) -> None:
    """Time a step of every method in RESULTS, in turns with a step without distillation.

    The quotients are the column `cost` of the report, kept with this machine's name in
    RESULTS/step-costs.json. Nothing else should run meanwhile.
    """
    folder = Path(results)
    costs, asked = read_step_costs(folder), _methods_of(folder)
    problems = []
    for key, spec in asked.items():
        if key in costs and not again:
            continue
        try:
            costs[key] = _timed(spec, data_root, turns)
        except KdbenchError as error:
            problems.append(f"{spec.label}: not timed: {error}")
            continue
        write_step_costs(folder, costs)
    found = [
        {"method": spec.method.name, "cell": spec.cell} | costs[key]
        for key, spec in asked.items()
        if key in costs
    ]
    write_json(found, json_file)
    if json_file != "-":
        for cost in found:
            step = f"{cost['ratio']:.2f} times a plain step"
            Console().print(f"{cost['cell']} {cost['method']}: {step}")
    if problems:
        raise KdbenchError("; ".join(problems))


def _methods_of(folder: Path) -> dict[str, RunSpec]:
    """A run of each method in a folder, by what its cost depends on."""
    problems: list[str] = []
    specs = [RunSpec.from_dict(record["spec"]) for record in read_records(folder, problems)]
    name_left_out(problems)
    found = {step_key(spec): spec for spec in specs if spec != spec.baseline()}
    if not found:
        raise KdbenchError(f"{folder}: no record of a method in it; `kdbench run` makes them")
    return found


def _timed(spec: RunSpec, data_root: str | None, turns: int) -> dict:
    device = resolve_device(spec.device)
    measured = step_cost(spec, build_dataset(spec, data_root), device, turns)
    where = environment(device)
    today = datetime.now(UTC).date().isoformat()
    return measured | {key: where[key] for key in MACHINE} | {"date": today}

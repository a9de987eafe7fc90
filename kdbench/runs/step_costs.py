"""What steps of methods cost, as it was timed: one file beside the records of a folder.

`step-costs.json` holds by `step_key` what `training/step_cost.py` measured, with the machine, its
threads and the day. What is timed again takes the place of what was.
"""

import json
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.runs.spec import RunSpec, digest
from kdbench.storage.files import write_text

NAME = "step-costs.json"
StepCosts = dict[str, dict]


def step_key(spec: RunSpec) -> str:
    """What the cost of a step depends on, as a hash: neither on the seed nor on how many."""
    parts = spec.to_dict()
    teacher = parts.get("teacher") or {}
    train = {key: parts["train"][key] for key in ("batch_size", "precision")}
    return digest(
        {key: parts[key] for key in ("dataset", "detector", "method", "device")}
        | {"train": train, "teacher": {key: teacher.get(key) for key in ("detector", "options")}}
    )


def read_step_costs(results: Path) -> StepCosts:
    """All that was timed; nothing where nothing was. Raises KdbenchError for a damaged file."""
    path = results / NAME
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        return {key: cost | {"ratio": float(cost["ratio"])} for key, cost in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise KdbenchError(f"{path}: not what `kdbench step-cost` writes ({error})") from None


def write_step_costs(results: Path, costs: StepCosts) -> Path:
    path = results / NAME
    write_text(path, json.dumps(dict(sorted(costs.items())), indent=1) + "\n")
    return path

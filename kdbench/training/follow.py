"""What the processes of a run do that do not lead it; see `processes.py`."""

import sys

import torch

from kdbench.errors import KdbenchError
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import run_folder
from kdbench.training import processes
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter


def follow(data_root: str | None) -> None:
    """Takes part in each training the leader announces, until it announces that all is done.

    An error that can be mended is known to all processes, and told by the leader: this one leaves
    without a word. It never returns without all being done.
    """
    try:
        with processes.losing():
            while (called := processes.from_leader()) is not None:
                take_part(*called, data_root)
    except KeyboardInterrupt:
        sys.exit(130)
    except KdbenchError as error:
        sys.exit(error.exit_code)


def take_part(spec: RunSpec, device_type: str, data_root: str | None) -> None:
    """One training, from networks built as the leader builds them."""
    try:
        device = torch.device(device_type)
        dataset = build_dataset(spec, data_root)
        networks = build_networks(spec, device)
    except KdbenchError as error:
        processes.raise_any(error)
    Training(spec, dataset, *networks, device, run_folder(spec), Reporter(quiet=True)).run()

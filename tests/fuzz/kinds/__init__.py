"""The kinds of files, each with the command that reads it.

A kind makes good files in a folder (`make`), changes one of them in a copy of it (`change`), says
which command line reads it (`arguments`), and where that takes it, what it then read otherwise than
a few lines of plain Python do (`misread`, a line, or None). `errors` lines of error are right where
the command fails, and lines that match `said` beside them.
"""

import importlib

# Kind -> where its class stands; loaded when it is tried, since most import torch.
KINDS = {
    "clouds": "kitti_files:Clouds",
    "labels": "label_files:Labels",
    "calibrations": "kitti_files:Calibrations",
    "framelists": "kitti_files:FrameLists",
    "runs": "settings:Runs",
    "sweeps": "settings:Sweeps",
    "records": "records:Records",
    "weights": "weights:Weights",
    "checkpoints": "weights:Checkpoints",
    "tuned": "tuned:Tuned",
    "results": "label_files:Results",
}


def make(name: str):
    """A kind."""
    module, kind = KINDS[name].split(":")
    return getattr(importlib.import_module(f"tests.fuzz.kinds.{module}"), kind)()

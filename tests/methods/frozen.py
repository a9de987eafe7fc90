"""Small frozen networks, as methods see them in a run."""

import torch

from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES


def network(ratio: float, name: str = "pointpillars"):
    """An untrained detector of the profile `tiny`, drawn from its ratio, in evaluation mode."""
    torch.manual_seed(round(ratio))
    spec = build_spec(profile="tiny", detector=name, ratio=ratio).detector
    return build_detector(spec, CLASSES).requires_grad_(False).eval()

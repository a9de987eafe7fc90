"""A detector as a checkpoint of OpenPCDet and the YAML beside it, read again before they stay."""

from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from kdbench.detector import Detector
from kdbench.errors import KdbenchError, UsageError
from kdbench.export.pcdet_config import check, config
from kdbench.export.pcdet_tensors import tensors
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.compare import LIMIT
from kdbench.imports.network import Imported, import_network
from kdbench.imports.pcdet import read_yaml
from kdbench.measure.inputs import generated
from kdbench.registry import detectors
from kdbench.registry.options import stored
from kdbench.runs.spec import DetectorSpec
from kdbench.storage.files import replacing


@dataclass(frozen=True)
class RoundTrip:
    """A detector beside what `kdbench import` makes of its files."""

    tensors: int
    others: tuple[str, ...]  # tensors that came back as other numbers, of the same function
    difference: float  # largest of an output of the head, over its standard deviation


def yaml_path(path: Path) -> Path:
    """Where the configuration of a checkpoint is written."""
    return path.with_suffix(".yaml")


def write(detector: Detector, spec: DetectorSpec, label: str, path: Path) -> RoundTrip:
    """Writes a checkpoint to `path` and its configuration beside it.

    Raises UsageError for a detector that OpenPCDet has nothing like, and KdbenchError when the
    files do not come back as the same network, or cannot be written: then there are none.
    """
    if path.is_dir() or path.suffix == ".yaml":
        raise UsageError(f"{path}: give the file to write, such as student.pth")
    options = stored(f"detector {spec.name!r}", detectors.get(spec.name), spec.options)
    check(detector, options)
    with torch.no_grad(), replacing(yaml_path(path)) as settings, replacing(path) as temporary:
        content = tensors(detector.cpu().eval())
        values = config(detector, Checkpoint(path, "openpcdet", content, {}), options)
        with temporary.open("wb") as file:
            torch.save({"model_state": content}, file)
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
        settings.write_text(_head(label, path) + text)
        found = import_network(temporary, config=read_yaml(settings), origin=str(yaml_path(path)))
        return _compared(detector, found)


def _head(label: str, path: Path) -> str:
    """What a person should know of the files."""
    return (
        f"# {label}, by kdbench. In OpenPCDet's folder tools:\n"
        f"#   python test.py --cfg_file {yaml_path(path).name} --ckpt {path.name}\n"
    )


def _compared(detector: Detector, found: Imported) -> RoundTrip:
    """Raises KdbenchError when a detector and what came back of it compute something else."""
    own, other = detector.state_dict(), found.network.state_dict()
    others = tuple(n for n in other if n not in own or not torch.equal(own[n], other[n]))
    (batch,) = generated(detector.point_range, 1).batches
    before, after = (net(net.prepare(batch)) for net in (detector, found.network))
    worst = 0.0
    for name in before.keys() & after.keys():
        if name.startswith("head."):
            scale = float(before[name].std()) or 1.0
            worst = max(worst, float((before[name] - after[name]).abs().max()) / scale)
    if not worst <= LIMIT:
        raise KdbenchError(
            f"what was written comes back as another network: outputs are off by {worst:.2g} of "
            "their standard deviation; nothing was written"
        )
    return RoundTrip(len(own), others, worst)

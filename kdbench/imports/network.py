"""From a checkpoint and its settings to a detector with its weights."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.imports import mmdet3d, pcdet
from kdbench.imports.checkpoint import Checkpoint, read_checkpoint
from kdbench.imports.layouts import LAYOUTS, choose
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import Transfer
from kdbench.registry import detectors
from kdbench.registry.options import complete, lean
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec


@dataclass(frozen=True)
class Imported:
    """A network from elsewhere, and what there is to say of it."""

    network: Detector
    spec: DetectorSpec
    settings: Settings
    file: Checkpoint
    unused: list[str]  # counters of the file

    def description(self) -> dict[str, Any]:
        """What is kept beside the weights, as plain values."""
        return {
            "detector": {
                "name": self.spec.name, "ratio": self.spec.ratio, "options": self.spec.options
            },
            "classes": list(self.network.classes),
            "file": {
                "name": self.file.path.name,
                "sha256": hashlib.sha256(self.file.path.read_bytes()).hexdigest(),
                "format": self.file.format,
                "classes": list(self.settings.classes),
                "legacy_pillars": self.settings.legacy,
            },
            "settings": self.settings.origin,
        }  # fmt: skip


def import_network(
    path: Path,
    *,
    format: str | None = None,
    detector: str | None = None,
    config: dict | None = None,
    origin: str = "",
    options: dict[str, Any] | None = None,
) -> Imported:
    """The network of a public checkpoint.

    `config` are settings in the form of the file's project, `origin` where they come from in
    words; `options` of the detector go above them. Raises DataError for a file, and UsageError
    for settings, that do not fit.
    """
    file = read_checkpoint(path, format)
    name = choose(file, detector)
    try:
        if file.format == "mmdet3d":
            settings = mmdet3d.settings(name, file, config, origin, trusted=format is not None)
        else:
            settings = pcdet.settings(name, config, origin)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        where, what = origin or path, f"{type(error).__name__}: {error}"
        raise UsageError(f"{where}: no configuration of {name} as known here ({what})") from None
    settings = replace(settings, options=settings.options | (options or {}))
    widths = LAYOUTS[file.format, name].widths(file)
    spec = _spec(name, widths, settings)
    return assemble(file, spec, settings)


def assemble(file: Checkpoint, spec: DetectorSpec, settings: Settings) -> Imported:
    """The detector of `spec` with the weights of a file, in evaluation mode."""
    network = build_detector(spec, settings.own_classes)
    transfer = Transfer(file, network)
    LAYOUTS[file.format, spec.name].fill(transfer, settings)
    tensors, unused = transfer.finish()
    network.load_state_dict(tensors)
    return Imported(network.eval(), spec, settings, file, unused)


def _spec(name: str, widths: list[int], settings: Settings) -> DetectorSpec:
    """The detector's spec: a ratio whose widths are the file's, or else the widths themselves."""
    plugin = detectors.get(name)
    options = settings.options
    ratio = fitting_ratio(plugin, widths)
    if ratio is None:
        ratio, options = 1.0, {"widths": widths} | options
    options = complete(f"detector {name!r}", plugin, plugin.neutral | options)
    return DetectorSpec(name, ratio, lean(plugin, options))


def fitting_ratio(plugin: type[Detector], widths: list[int]) -> float | None:
    """The smallest tried ratio at which the published widths become `widths`, if there is any."""
    pairs = list(zip(plugin.published_widths, widths, strict=True))
    exact = {(published / width) ** 2 for published, width in pairs}
    tried = sorted({round(r, digits) for r in exact for digits in (0, 1, 6)})
    for ratio in tried:
        if ratio >= 1 and all(plugin.compressed(p, ratio) == w for p, w in pairs):
            return float(ratio)
    return None

"""A trained network by whatever names it: NAME of an imported one, or RECORD of a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.registry import datasets
from kdbench.runs import imported
from kdbench.runs.build import same_classes
from kdbench.runs.inheritance import check_classes
from kdbench.runs.lookup import Named, named_record
from kdbench.runs.records import Record
from kdbench.runs.spec import DatasetSpec, DetectorSpec, RunSpec
from kdbench.runs.store import load_recorded


@dataclass(frozen=True)
class Network:
    """A trained network: that of a run's record, or an imported one."""

    record: Record | None = None
    kept: imported.Kept | None = None

    @property
    def run(self) -> RunSpec | None:
        """The run that trained it, unless it was imported."""
        return RunSpec.from_dict(self.record["spec"]) if self.record else None

    @property
    def detector(self) -> DetectorSpec:
        """Which network it is."""
        return self.kept.spec if self.kept else self.run.detector

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.kept.name} (imported)" if self.kept else self.run.label

    @property
    def weights(self) -> str | None:
        """The checksum of its weights."""
        return self.kept.weights if self.kept else self.record.get("weights_sha256")

    def load(self) -> Detector:
        """The network, in evaluation mode. Raises DataError for weights that are not there."""
        return imported.load(self.kept.name) if self.kept else load_recorded(self.record).eval()

    def on(self, dataset: str | None, options: dict[str, Any] | None = None) -> RunSpec:
        """A spec of the network on a data set, by default on that of its run.

        Raises UsageError for an imported network without one, or with another's classes.
        """
        if dataset is None and self.kept:
            raise UsageError(
                f"{self.kept.name}: imported, so it has no data set of its own: give --dataset"
            )
        frames = self.run.dataset if dataset is None else self._frames(dataset)
        if self.kept:
            check_classes(self.kept.name, self.kept.classes, frames)
        frames = replace(frames, options=frames.options | (options or {}))
        return replace(self.run or RunSpec(), detector=self.detector, dataset=frames)

    def _frames(self, dataset: str) -> DatasetSpec:
        """All frames of another data set, of the network's own classes where it can have them."""
        return DatasetSpec(
            dataset, same_classes(self.run.dataset, datasets.get(dataset)) if self.run else {}
        )


def named_network(named: Named) -> Network:
    """The network of an imported one's name, of a record, its path, or a published run's name.

    Raises UsageError, with the nearest names, for what is none of these.
    """
    names = imported.names()
    if not isinstance(named, (dict, Path)) and named in names:
        return Network(kept=imported.describe(named))
    return Network(record=named_record(named, names))

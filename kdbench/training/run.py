"""One run from a spec to a record, with the runs it rests on."""

import hashlib
import inspect
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import DataError
from kdbench.measure.compression import compression, parameters
from kdbench.measure.device import check_precision, resolve_device
from kdbench.measure.environment import environment
from kdbench.measure.inputs import from_dataset
from kdbench.measure.latency import measure_latency
from kdbench.measure.once import measured_once
from kdbench.registry import detectors
from kdbench.runs import store
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.records import SCHEMA, Record, check_writable, find_record, write_record
from kdbench.runs.rounding import round_matrices
from kdbench.runs.spec import RunSpec
from kdbench.runs.teaching import adopt
from kdbench.storage.files import CannotWrite, check_place
from kdbench.storage.home import home
from kdbench.storage.lock import alone
from kdbench.training.aligned import (
    own_network,
)
from kdbench.training.applicable import check_applicable
from kdbench.training.data import build_dataset, left_out, of_frames
from kdbench.training.evaluate import detect, score, teacher_detections
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from kdbench.training.teachers import (
    is_published,
    known_teacher,
    source_run,
    why_trained,
)
from kdbench.training.traced import Traced
from kdbench.training.transfer import real_frames, transfer, transferred, with_transfer

COST_FRAMES = 20  # frames over which MACs are averaged
LATENCY_FRAMES, LATENCY_WARMUP = 100, 5
HEADLINES = (("BEV", "bev_map"), ("3D", "3d_map"))


@dataclass
class Runner:
    """Carries out runs; what is done already is taken from the results folder."""

    results: Path
    data_root: str | None = None
    force: bool = False  # do the asked-for run again; its teacher and baseline stay
    reporter: Reporter = None
    device: str = "cpu"  # of a run that leaves it open, as a teacher's does
    own_teacher: bool = False  # a teacher that is trained here, though one is published
    measure: bool = False  # cost and latency of each run, not once for a detector and ratio
    transfer: str | None = None  # a KITTI tree on whose frames all runs are scored too
    trace: bool = False  # write down how distillation pulls at the student

    def __post_init__(self):
        self.reporter = self.reporter or Reporter()

    def run(self, spec: RunSpec) -> Record:
        """The record of `spec`, and beforehand those of its teacher and its baseline.

        Raises KdbenchError (see `errors.py`) with one clear line; what was finished stays.
        """
        spec, dataset = self.prepare(spec)
        return self._ensure(spec, dataset, force=self.force)

    def prepare(self, spec: RunSpec) -> tuple[RunSpec, Dataset]:
        """`spec` as it stands in a record, and its data set; makes what the run rests on."""
        check_applicable(spec)
        check_writable(self.results)
        check_place(home() / "runs")
        device = resolve_device(self.device if spec.is_teacher else spec.device)
        self.device = device.type
        check_precision(spec.train.precision, device.type)
        if self.transfer is not None:  # before anything is trained
            real_frames(spec, self.transfer).preflight()
        dataset = build_dataset(spec, self.data_root)
        if note := left_out(spec):
            self.reporter.say(note)
        dataset.preflight()
        spec = of_frames(spec, dataset)
        if not spec.is_teacher:
            spec = replace(spec, device=device.type)
        if (teacher := spec.teacher_run()) is not None:
            own = dataset if _same_range(teacher, spec) else build_dataset(teacher, self.data_root)
            spec = spec.taught_by(self._teacher(teacher, spec.teacher.weights, own))
        if (plain := spec.baseline()) != spec:
            self._ensure(plain, dataset, weights_needed=source_run(spec) == plain)
        return spec, dataset

    def _teacher(self, run: RunSpec, wanted: str, dataset: Dataset) -> str:
        """The checksum of a teacher's weights; looked up, or else trained.

        Raises DataError when they are not those that are `wanted`.
        """
        record = self._ensure(run, dataset, weights_needed=True)
        weights = record["weights_sha256"]
        if wanted not in ("", weights):
            raise DataError(
                f"{run.label}: the run asked for learned from the weights {wanted[:10]}; those "
                f"that are here, of the same training, are {weights[:10]}"
            )
        return weights

    def _ensure(
        self, spec: RunSpec, dataset: Dataset, force: bool = False, weights_needed: bool = False
    ) -> Record:
        """The record of a run; carries it out when it is not there, or its weights are lost.

        One process at a time: a second one finds what the first has done.
        """
        folder, waits = store.run_folder(spec), f"{spec.label}: another process is at it; waiting"
        with alone(folder, store.TEMPORARY, lambda: self.reporter.say(waits)):
            return self._ensured(spec, dataset, force, weights_needed)

    def _ensured(
        self, spec: RunSpec, dataset: Dataset, force: bool, weights_needed: bool
    ) -> Record:
        weights_needed = weights_needed or spec.is_teacher
        record = None if force else self._record(spec)
        if record is not None and (not weights_needed or self._weights_are_good(spec, record)):
            self.reporter.say(f"{spec.label}: {self._done(spec, record)}")
            return self._on_real_frames(spec, record)
        if force:
            store.forget(spec)
        if record is not None and not spec.is_teacher:
            self._train_again(spec, record, dataset)
            return self._on_real_frames(spec, record)
        record = self._carry_out(spec, dataset)
        path = write_record(self.results, record)
        maps = [f"{name} mAP {record['metrics'][key]:.2f}" for name, key in HEADLINES]
        self.reporter.say(f"{spec.label}: {', '.join(maps)}; {path}")
        return record

    def _record(self, spec: RunSpec) -> Record | None:
        """The record of a run; a published teacher's joins the results, whose tables show it."""
        recorded = find_record(self.results, spec)
        if not spec.is_teacher:
            return recorded
        known = known_teacher(self.results, spec, self.own_teacher)
        if known is not None and known != recorded:
            write_record(self.results, known)
        if known is None and not spec.weights and (reason := why_trained(spec)):
            self.reporter.say(reason)
        return known or (None if self.own_teacher else recorded)

    def _on_real_frames(self, spec: RunSpec, record: Record) -> Record:
        """A finished run's record with figures of the real frames asked for, if it lacks them."""
        if self.transfer is None or transferred(record, real_frames(spec, self.transfer), "all"):
            return record
        try:
            record = self._transferred(spec, record, store.load_recorded(record))
        except DataError as error:
            self.reporter.say(f"warning: {spec.label} is not scored on real frames: {error}")
            return record
        write_record(self.results, record)
        return record

    def _transferred(self, spec: RunSpec, record: Record, detector: Detector) -> Record:
        if self.transfer is None:
            return record
        frames, device = real_frames(spec, self.transfer), torch.device(self.device)
        return with_transfer(record, transfer(detector, frames, "all", device, self.reporter))

    def _done(self, spec: RunSpec, record: Record) -> str:
        """Where a run that was done before has its record and its weights."""
        path = store.found_weights(spec, record["weights_sha256"])
        if path is not None and is_published(path):
            return f"published, {path}"
        where = path or "not in KDBENCH_HOME, --force trains them again"
        if self._traces(spec) and "trace" not in record["training"]:
            where = f"{where}; not traced, --force trains it again with a trace"
        return f"done before, {self.results / spec.record_path}; weights: {where}"

    def _weights_are_good(self, spec: RunSpec, record: Record) -> bool:
        """Whether a finished run can be the teacher of another."""
        try:
            store.load_recorded(record)
        except DataError as error:
            name = "teacher" if spec.is_teacher else "network"
            self.reporter.say(f"warning: {error}; the {name} is trained again")
            store.forget(spec)
            return False
        return True

    def _train_again(self, spec: RunSpec, record: Record, dataset: Dataset) -> None:
        """Trains a student whose weights are lost; its record stays as it is."""
        networks = build_networks(spec, torch.device(self.device))
        self._train(spec, dataset, *networks)
        if store.checksum(_cpu_state(networks[0])) != record["weights_sha256"]:
            self.reporter.say(
                f"warning: {spec.label}: these weights are not those of its record: another "
                "machine, or another number of threads, ends with other bits"
            )

    def _carry_out(self, spec: RunSpec, dataset: Dataset) -> Record:
        device = torch.device(self.device)
        student, teacher, method = build_networks(spec, device)
        cost = self._train(spec, dataset, student, teacher, method)
        found = detect(student, dataset, device, self.reporter)
        self._keep_detections(spec, dataset, found)
        source = source_run(spec)
        record = {
            "schema": SCHEMA,
            "hash": spec.hash,
            "spec": spec.to_dict(),
            "teacher": source.hash if source else None,
            "teacher_weights": store.checksum(_cpu_state(own_network(teacher))) if source else None,
            "metrics": score(dataset, found, student.point_range, teacher_detections(spec)),
            "cost": self._cost(spec, dataset, student, device)
            | {"method_parameters": parameters(method)},
            "latency": self._latency(spec, dataset, student, device),
            "training": cost,
            "weights_sha256": store.checksum(_cpu_state(student)),
            "environment": environment(device),
        }
        # While the student is in memory: its weights may not have found a place.
        return self._transferred(spec, record, student)

    def _train(self, spec, dataset, student, teacher, method) -> dict:
        """Trains, or takes the weights of a training that ended without a record."""
        cost = store.load_training(spec, student)
        if cost is None and spec.weights:
            cost = adopt(spec, student)
            self._keep(spec, student, cost)
        if cost is None:
            check_precision(spec.train.precision, self.device)  # a teacher has one of its own
            device, folder = torch.device(self.device), store.run_folder(spec)
            kind = Traced if self._traces(spec) else Training
            cost = kind(
                spec, dataset, student, teacher, method, device, folder, self.reporter
            ).run()
            if spec.is_teacher:
                round_matrices(student)
            self._keep(spec, student, cost)
        return cost

    def _traces(self, spec: RunSpec) -> bool:
        """Whether a run is to be traced: neither a teacher nor a student without a method is."""
        return self.trace and spec != spec.baseline()

    def _keep(self, spec: RunSpec, student: Detector, cost: dict) -> None:
        """Writes the weights. A student has its result without them; a teacher is nothing else."""
        try:
            store.save_training(spec, student, cost)
        except CannotWrite as error:
            if spec.is_teacher:
                raise
            self.reporter.say(f"warning: {spec.label}: weights are not kept: {error}")

    def _keep_detections(self, spec: RunSpec, dataset: Dataset, found) -> None:
        """Writes the detections, which the result does not need."""
        try:
            store.save_detections(spec, dataset, found)
        except CannotWrite as error:
            self.reporter.say(f"warning: {spec.label}: detections are not kept: {error}")

    def _cost(self, spec, dataset, student, device) -> dict:
        def measure() -> dict:
            batches = from_dataset(dataset, COST_FRAMES).batches
            full = build_detector(spec.full_width(), classes_of(spec.dataset)).to(device)
            return compression(student, full, batches)

        return measured_once("cost", _subject(spec), device, measure, self.measure)

    def _latency(self, spec, dataset, student, device) -> dict:
        def measure() -> dict:
            batches = from_dataset(dataset, LATENCY_FRAMES).batches
            return measure_latency(student, batches, device, repeats=1, warmup=LATENCY_WARMUP)

        return measured_once("latency", _subject(spec), device, measure, self.measure)


def _same_range(one: RunSpec, other: RunSpec) -> bool:
    """Whether two runs see the same part of each cloud."""
    ranges = [spec.detector.options.get("point_range") for spec in (one, other)]
    return ranges[0] == ranges[1]


def _subject(spec: RunSpec) -> dict:
    """What the cost of a run's network depends on."""
    source = Path(inspect.getfile(detectors.get(spec.detector.name)))  # a plugin's too
    return {
        "detector": vars(spec.detector),
        "frames": spec.dataset.fingerprint,
        "code": hashlib.sha256(source.read_bytes()).hexdigest(),
    }


def _cpu_state(detector: Detector) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in detector.state_dict().items()}

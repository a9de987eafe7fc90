"""One run from a spec to a record, with the runs it rests on."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import DataError, UsageError
from kdbench.measure.compression import compression, parameters
from kdbench.measure.device import resolve_device
from kdbench.measure.environment import environment
from kdbench.measure.inputs import from_dataset
from kdbench.measure.latency import measure_latency
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.records import SCHEMA, Record, check_writable, find_record, write_record
from kdbench.runs.spec import RunSpec, with_method
from kdbench.taps import require
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import detect, score, teacher_detections
from kdbench.training.loop import Training
from kdbench.training.payback import extra_steps
from kdbench.training.progress import Reporter

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

    def __post_init__(self):
        self.reporter = self.reporter or Reporter()

    def run(self, spec: RunSpec) -> Record:
        """The record of `spec`, and beforehand those of its teacher and its baseline.

        Raises KdbenchError (see `errors.py`) with one clear line; what was finished stays.
        """
        spec, dataset = self.prepare(spec)
        if methods.get(spec.method.name).pays_back and not spec.train.extra_steps:
            spec = self._paid_back(spec, dataset)
        return self._ensure(spec, dataset, force=self.force)

    def prepare(self, spec: RunSpec) -> tuple[RunSpec, Dataset]:
        """`spec` as it stands in a record, and its data set; makes what the run rests on."""
        check_applicable(spec)
        check_writable(self.results)
        device = resolve_device(spec.device)
        dataset = build_dataset(spec, self.data_root)
        spec = _identified(replace(spec, device=device.type), dataset)
        for earlier in (spec.teacher(), spec.baseline()):
            if earlier != spec:
                self._ensure(earlier, dataset, weights_needed=earlier == teacher_run(spec))
        return spec, dataset

    def _paid_back(self, spec: RunSpec, dataset: Dataset) -> RunSpec:
        """`spec` with the steps that distilling would have cost, from the records of those runs."""
        name, variant = (spec.method.options[key] for key in ("method", "variant"))
        if methods.get(name).teacher == "none":
            raise UsageError(f"option method of {spec.method.name!r}: {name!r} costs nothing more")
        rival, _ = self.prepare(with_method(spec, name))
        teacher = self._ensure(rival.teacher(), dataset) if variant == "all" else None
        plain, distilled = (self._ensure(run, dataset) for run in (rival.baseline(), rival))
        extra = extra_steps(plain, distilled, teacher)
        self.reporter.say(f"{spec.label}: {extra} steps more, the cost of {rival.method.name}")
        return replace(spec, train=replace(spec.train, extra_steps=extra))

    def _ensure(
        self, spec: RunSpec, dataset: Dataset, force: bool = False, weights_needed: bool = False
    ) -> Record:
        record = None if force else find_record(self.results, spec)
        weights_needed = weights_needed or spec == spec.teacher()
        if record is not None and (not weights_needed or self._weights_are_good(spec)):
            self.reporter.say(f"{spec.label}: done before, {self.results / spec.record_path}")
            return record
        if force:
            store.forget(spec)
        record = self._carry_out(spec, dataset)
        path = write_record(self.results, record)
        maps = [f"{name} mAP {record['metrics'][key]:.2f}" for name, key in HEADLINES]
        self.reporter.say(f"{spec.label}: {', '.join(maps)}; {path}")
        return record

    def _weights_are_good(self, spec: RunSpec) -> bool:
        """Whether a finished run can be the teacher of another."""
        try:
            store.load_trained(spec)
        except DataError as error:
            self.reporter.say(f"warning: {error}; the teacher is trained again")
            store.forget(spec)
            return False
        return True

    def _carry_out(self, spec: RunSpec, dataset: Dataset) -> Record:
        device = torch.device(spec.device)
        student, teacher, method = build_networks(spec, dataset, device)
        cost = self._train(spec, dataset, student, teacher, method, device)
        found = detect(student, dataset, device, self.reporter)
        store.save_detections(spec, dataset, found)
        return {
            "schema": SCHEMA,
            "hash": spec.hash,
            "spec": spec.to_dict(),
            "teacher": source.hash if (source := teacher_run(spec)) else None,
            "metrics": score(dataset, found, student.point_range, teacher_detections(spec)),
            "cost": self._cost(spec, dataset, student, method, device),
            "latency": self._latency(dataset, student, device),
            "training": cost,
            "weights_sha256": store.checksum(_cpu_state(student)),
            "environment": environment(device),
        }

    def _train(self, spec, dataset, student, teacher, method, device) -> dict:
        """Trains, or takes the weights of a training that ended without a record."""
        cost = store.load_training(spec, student)
        if cost is None:
            folder = store.run_folder(spec)
            cost = Training(
                spec, dataset, student, teacher, method, device, folder, self.reporter
            ).run()
            store.save_training(spec, student, cost)
        return cost

    def _cost(self, spec, dataset, student, method, device) -> dict:
        batches = from_dataset(dataset, COST_FRAMES).batches
        full = build_detector(spec.teacher().detector, dataset.classes).to(device)
        return compression(student, full, batches) | {"method_parameters": parameters(method)}

    def _latency(self, dataset, student, device) -> dict:
        batches = from_dataset(dataset, LATENCY_FRAMES).batches
        return measure_latency(student, batches, device, repeats=1, warmup=LATENCY_WARMUP)


def check_applicable(spec: RunSpec) -> None:
    """Raises NotApplicable when the run's detector lacks what its method needs."""
    method = methods.get(spec.method.name)
    taps = build_detector(spec.detector, ("Car",)).taps
    require(method.name, method.needs, spec.detector.name, taps)


def build_networks(
    spec: RunSpec, dataset: Dataset, device: torch.device
) -> tuple[Detector, Detector | None, Method]:
    """Student, teacher (when the method has one) and method, initialised from the seed.

    The student is drawn first and from the seed alone: students of one seed start equal
    whatever the method.
    """
    torch.manual_seed(spec.seed)
    student = build_detector(spec.detector, dataset.classes)
    kind = methods.get(spec.method.name)
    require(kind.name, kind.needs, spec.detector.name, student.taps)
    teacher = make_teacher(spec, student, store.load_trained)
    if teacher is not None:
        teacher.to(device)
    torch.manual_seed(spec.seed + 1)
    teacher_taps = student.taps if teacher is None else teacher.taps
    method = kind(student.taps, teacher_taps, **spec.method.options)
    if teacher is not None:
        method.prepare_student(student, teacher)
    return student.to(device), teacher, method.to(device)


def teacher_run(spec: RunSpec) -> RunSpec | None:
    """The run whose trained weights are those of the teacher; None when there is no such run."""
    kind = methods.get(spec.method.name).teacher
    return {"trained": spec.teacher(), "self": spec.baseline()}.get(kind)


def make_teacher(
    spec: RunSpec, student: Detector, load: Callable[[RunSpec], Detector]
) -> Detector | None:
    """The teacher a run's method asks for, frozen; `load` gives the trained detector of a run.

    It is in evaluation mode, save an untrained one: its running statistics are those of no data,
    and would let its features fade from layer to layer. Its batch norms take the statistics of
    each batch, and keep none.
    """
    kind = methods.get(spec.method.name).teacher
    if kind == "none":
        return None
    if kind == "ema":
        teacher = copy.deepcopy(student)
    elif kind == "random":
        teacher = build_detector(spec.teacher().detector, student.classes)
    else:
        teacher = load(teacher_run(spec))
    teacher.requires_grad_(False).eval()
    if kind == "random":
        for module in teacher.train().modules():
            if hasattr(module, "track_running_stats"):
                module.track_running_stats = False
    return teacher


def _identified(spec: RunSpec, dataset: Dataset) -> RunSpec:
    return replace(spec, dataset=replace(spec.dataset, fingerprint=dataset.fingerprint()))


def _cpu_state(detector: Detector) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in detector.state_dict().items()}

"""The one training loop."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from kdbench.dataset import Batch, Dataset, DeviceFrames
from kdbench.detector import Detector
from kdbench.errors import TrainingDiverged
from kdbench.measure.device import HALF
from kdbench.measure.memory import PeakMemory
from kdbench.method import Method
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import Log
from kdbench.storage.files import CannotWrite
from kdbench.taps import LazyTaps, Taps
from kdbench.training import processes
from kdbench.training.aligned import inputs_of, seen_by_method
from kdbench.training.checkpoint import Damaged, State
from kdbench.training.interrupts import interruptible
from kdbench.training.meter import Meter
from kdbench.training.progress import Reporter
from kdbench.training.shares import own_share, shared_batches
from kdbench.training.synced_norm import synced
from kdbench.training.teachers import reader
from kdbench.training.terms import Distillation, checked_terms
from kdbench.training.whole import whole_taps

SAVE_SECONDS = 20  # between two checkpoints: what a kill costs at most
LOG_STEPS = 10


@dataclass
class Training:
    """One student under training, with what it learns from."""

    spec: RunSpec
    dataset: Dataset
    student: Detector
    teacher: Detector | None
    method: Method
    device: torch.device
    folder: Path
    reporter: Reporter
    _reader: Detector | None = field(default=None, init=False, repr=False)  # of the teacher's taps
    _warned: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file, there until the training is done."""
        return self.folder / "checkpoint.pt"

    def run(self) -> dict:
        """Trains to the end, from a checkpoint when there is one; returns what it cost.

        With several processes the leader calls the others in, see `processes.py`.
        Raises TrainingDiverged (naming the step and the frames) and KeyboardInterrupt (after
        saving a checkpoint).
        """
        from kdbench.training.stage import first_stage  # which is a training itself

        processes.call(self.spec, self.device)
        with processes.losing(), synced(self.student, self.teacher):
            before = first_stage(self)
            cost = self.train()
        return cost | ({"stage": before} if before else {})

    def train(self) -> dict:
        """Trains as `run` does, in all processes at once, without what goes before."""
        state = self.initial_state()
        self._resume(state)
        processes.check_equal(state.step, "see different checkpoints; KDBENCH_HOME must be shared")
        memory = PeakMemory(self.device)
        memory.start()
        meter = Meter()
        with interruptible() as interrupted, self._logs(state.step) as write:
            self._steps(state, write, meter, interrupted)
        peak = memory.stop()
        return {
            "steps": state.step,
            "processes": processes.size(),
            "seconds": round(state.seconds, 3),
            **meter.summary(),
            "peak_memory_bytes": peak["bytes"],
            "peak_memory_how": peak["how"],
        }

    def _resume(self, state: State) -> None:
        try:
            resumed = state.load(self.checkpoint)
        except Damaged as error:
            self.reporter.say(f"warning: {error}; {self.spec.label} starts anew from step 0")
            return
        if resumed:
            self.reporter.say(f"{self.spec.label}: goes on from step {state.step}")

    def _save(self, state: State, stops: bool) -> None:
        """Writes a checkpoint. Where that cannot be, the training goes on if it can."""
        try:
            state.save(self.checkpoint)
        except CannotWrite as error:
            if stops:
                raise
            self._warn(f"no checkpoint: {error}; the training goes on without")

    def _warn(self, text: str) -> None:
        """Says once what is wrong; the same again is not news."""
        if text not in self._warned:
            self._warned.add(text)
            self.reporter.say(f"warning: {self.spec.label}: {text}")

    def _steps(self, state, write, meter, interrupted) -> None:
        total = self.spec.train.steps
        saved = time.monotonic()
        with self.reporter.bar(self.spec.label, total, state.step) as advance:
            for batch in meter.waiting(self.batches(state.step)):
                started = time.perf_counter()
                losses = self.step(state, batch)
                elapsed = time.perf_counter() - started
                state.seconds += elapsed + meter.waited
                meter.add(elapsed, len(batch))
                if state.step % LOG_STEPS == 0 or state.step == total:
                    write(state.step, losses, elapsed)
                advance({k: v for k, v in losses.items() if k not in ("lr", "grad_norm")})
                stop = processes.anywhere(interrupted())
                due = time.monotonic() - saved > SAVE_SECONDS
                if (due or stop) and state.step < total and processes.leads():
                    self._save(state, stop)
                    saved = time.monotonic()
                if stop:
                    raise KeyboardInterrupt

    @contextmanager
    def _logs(self, step: int):
        """Yields `write(step, losses, seconds)`; the leader alone writes."""
        if not processes.leads():
            yield lambda *_: None
            return
        log = Log(self.folder / "log.jsonl")
        log.truncate_after(step)
        with self.reporter.events(self.folder, step) as events:

            def write(step, losses, seconds):
                try:
                    log.write(step=step, **losses)
                except CannotWrite as error:
                    self._warn(f"no log: {error}")
                events(step, losses, seconds)

            yield write

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches from number `step` to the last, through as many epochs as that takes."""
        size = self.spec.train.batch_size
        total = self.spec.train.steps
        per_epoch = math.ceil(len(self.dataset.ids("train")) / size)
        for epoch in range(step // per_epoch, math.ceil(total / per_epoch)):
            skip = max(0, step - epoch * per_epoch)
            left = total - max(step, epoch * per_epoch)
            batches = shared_batches(
                self.dataset, self.spec.seed, epoch, size, skip, self._on_device
            )
            yield from islice(batches, left)

    @cached_property
    def _on_device(self) -> DeviceFrames | None:
        """The data set on the GPU, where there is one to starve."""
        if self.device.type != "cuda" or processes.size() > 1:
            return None
        return self.dataset.on_device(self.device)

    def step(self, state: State, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns losses by name, learning rate and gradient norm."""
        batch = batch.to(self.device)
        losses = self._averaging(batch)
        total = sum(losses.values())
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {x:g}" for name, x in numbers(losses).items())
            raise TrainingDiverged(
                f"{self.spec.label}: the loss is not finite at step {state.step + 1} ({values}); "
                f"frames {', '.join(batch.ids)}; try a lower train.lr"
            )
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(total).backward()
        state.scaler.unscale_(state.optimizer)
        parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.spec.train.grad_clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        lr = state.schedule.get_last_lr()[0]
        state.schedule.step()
        state.step += 1
        self._after_step(state)
        return numbers(losses | self.method.logs | {"grad_norm": norm}) | {"lr": lr}

    def _after_step(self, state: State) -> None:
        self.method.after_step(self.student, self.teacher, state.step, self.spec.train.steps)

    @cached_property
    def _averaging(self):
        """`losses`, whose gradients are averaged over the processes."""
        return processes.averaging(self.losses, self.student, self.method)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Detection and distillation losses of a batch, by name.

        Each process runs the networks on its share of the frames; losses see the whole batch.
        """
        teacher_taps: Taps = {}
        own = own_share(batch)
        with self._autocast():
            inputs = self.student.prepare(own)  # once: teacher and student rows correspond
            taps = self.student(inputs)
        # Losses are computed in full precision.
        taps = whole_taps(in_float32(taps), batch)
        if self.teacher is not None:
            seen = inputs_of(self.teacher, inputs, own)
            teacher_taps = whole_taps(self._teacher_taps(seen), batch)
            batch = self._distillation.relabelled(batch, self.teacher, teacher_taps)
        loss = self.student.loss(taps, batch)
        detection = checked_terms(f"the loss of detector {self.student.name!r}", loss)
        shown = seen_by_method(self.teacher, taps)
        distillation = self._distillation.terms(shown, teacher_taps, batch)
        scale = self.scale(detection, distillation)
        return detection | {f"kd.{name}": scale * term for name, term in distillation.items()}

    @cached_property
    def _distillation(self) -> Distillation:
        return Distillation(self.method)

    def reads_from(self, detector: Detector) -> None:
        """Takes the teacher's taps from another form of it, by default from `teachers.reader`."""
        self._reader = detector

    def _teacher_taps(self, inputs) -> Taps:
        """What the teacher shows: computed no further than it is looked at."""
        if self._reader is None:
            self.reads_from(reader(self.teacher, self.method, inputs))
        stages = map(in_float32, self._reader.stages(inputs))
        return LazyTaps(stages, self.teacher.taps, self._without_gradients)

    @contextmanager
    def _without_gradients(self):
        with torch.no_grad(), self._autocast():
            yield

    def scale(self, detection: dict[str, Tensor], distillation: dict[str, Tensor]) -> float:
        """The factor on the method's losses, given all losses of a step."""
        return self.spec.method.scale

    def _autocast(self):
        precision = self.spec.train.precision
        if precision not in HALF:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=HALF[precision])

    def initial_state(self) -> State:
        """Optimiser and schedule at step 0; puts student and method in training mode."""
        self.student.train()
        self.method.train()
        if self.method.stage_steps:
            self.method.freeze_stage()
        own = (p for p in self.method.parameters() if p.requires_grad)
        return self._state([*self.student.parameters(), *own])

    def _state(self, parameters: list[torch.nn.Parameter]) -> State:
        train = self.spec.train
        optimizer = torch.optim.AdamW(
            parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True,
            betas=(0.95, train.beta2),  # the cycle below sets the first at every step
        )  # fmt: skip
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=train.lr, total_steps=train.steps + 1, pct_start=train.warmup,
            div_factor=10, final_div_factor=1e3, base_momentum=0.85, max_momentum=0.95,
        )  # fmt: skip
        # Gradients of float16 underflow unless they are scaled.
        scaled = train.precision == "float16"
        scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        average = self.teacher if self.method.teacher == "ema" else None
        return State(self.student, self.method, optimizer, schedule, scaler, average)


def numbers(values: dict[str, Tensor]) -> dict[str, float]:
    """The values, which a device is waited for once to tell."""
    device = next(iter(values.values())).device
    known = [x.detach().double().to(device, non_blocking=True) for x in values.values()]
    return dict(zip(values, torch.stack(known).tolist(), strict=True))


def in_float32(taps: Taps) -> Taps:
    """The same taps, half-precision values as float32."""

    def cast(tap):
        if isinstance(tap, Tensor):
            return tap.float()
        values = {f.name: getattr(tap, f.name) for f in fields(tap)}
        half = {
            k: v.float() for k, v in values.items() if getattr(v, "dtype", None) in HALF.values()
        }
        return replace(tap, **half)

    return {name: cast(tap) for name, tap in taps.items()}

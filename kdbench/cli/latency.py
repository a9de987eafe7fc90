"""`kdbench latency`: how fast a detector is, one frame at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
import torch

from kdbench.cli.latency_text import show
from kdbench.cli.measured import (
    classes_in,
    detector_options,
    detector_spec,
    input_frames,
    input_options,
    named_dataset,
    network_option,
    trained,
)
from kdbench.cli.output import console, json_option, write_json
from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.measure.compression import network_size
from kdbench.measure.contention import DISTURBED
from kdbench.measure.device import resolve_device
from kdbench.measure.environment import environment
from kdbench.measure.inference import Options
from kdbench.measure.inputs import Inputs
from kdbench.measure.latency import measure_latency
from kdbench.measure.roofline import attained, measured_peak
from kdbench.measure.speed_up import ready, speed_up
from kdbench.measure.stages import stage_times
from kdbench.runs.build import build_detector
from kdbench.runs.network import Network
from kdbench.runs.settings import parse_overrides

RANDOM_NOTE = (
    "note: random weights find an unrealistic number of boxes, so post-processing does not take "
    "what it takes in a trained detector; measure one with --run RECORD"
)


@click.command()
@detector_options
@network_option
@input_options
@click.option("--frames", default=50, show_default=True, help="Distinct frames.")
@click.option("--repeats", default=2, show_default=True, help="Times each frame is measured.")
@click.option("--warmup", default=5, show_default=True, help="Frames before that do not count.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<i>.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads  [torch's choice]")
@click.option("--fused", is_flag=True, help="Beside it a copy with batch norms folded away.")
@click.option("--half", is_flag=True, help="... and convolutions in half precision.")
@click.option("--graph", is_flag=True, help="... and the dense part as a CUDA graph.")
@click.option("--stages", is_flag=True, help="Time of each part, and its share of the peak.")
@json_option
def latency(
    detector, ratio, profile, assignments, network, dataset, data_root,
    frames, repeats, warmup, device, threads, fused, half, graph, stages, json_file,
) -> None:  # fmt: skip
    """Latency at batch 1, from points on the device to boxes on the device.

    Without --run the weights are random. --fused, --half and --graph measure a copy of the
    detector for inference alone in turns with the plain one; of a trained run they also tell how
    far its AP moves.
    """
    place = resolve_device(device)
    if network:
        given = (detector, ratio, profile, assignments)
        named, data = trained(network, given, dataset, data_root)
        subject = _trained(named, data, frames)
    else:
        subject = _random(
            detector, ratio, profile, parse_overrides(assignments), dataset, data_root, frames
        )
    fast = Options(half, graph) if any((fused, half, graph)) else None
    extra = {}
    with _threads(threads), console.status("measuring"):
        if fast:
            measured, extra["fused"] = _both(subject, fast, place, repeats, warmup)
        else:
            batches = subject.inputs.batches
            measured = measure_latency(subject.network, batches, place, repeats, warmup)
        if stages:
            extra |= _where_time_goes(subject, measured["p50"], place)
        where = environment(place)
    result = {
        "detector": subject.name,
        "weights": subject.weights,
        "input": subject.inputs.description,
        "environment": where,
        "latency_ms": measured,
        **extra,
    }
    write_json(result, json_file)
    if json_file != "-":
        show(result)
    _caution(subject, measured["contention"])


def _both(subject: "Subject", options: Options, place, repeats, warmup) -> tuple[dict, dict]:
    """Latency of the plain detector and of its fast version, and what the latter costs."""
    batches = subject.inputs.batches
    fast, seconds = ready(subject.network, options, batches[0], place)
    plain, quick = speed_up(subject.network, fast, batches, place, repeats, warmup)
    found = {"options": str(options), "first_frame_seconds": seconds, "latency_ms": quick}
    if subject.data is not None and subject.weights == "trained":
        from kdbench.training.evaluate import mean_ap

        found["map"] = [mean_ap(x, subject.data, place) for x in (subject.network, fast)]
    return plain, found


def _where_time_goes(subject: "Subject", p50: float, place) -> dict:
    size = network_size(subject.network, subject.inputs.batches[:5])
    return {
        "stages_ms": stage_times(subject.network, subject.inputs.batches, place),
        "roofline": attained(size, p50 / 1e3, measured_peak(place)),
    }


def _caution(subject: "Subject", others: float | None) -> None:
    """Says what makes these figures less than they seem."""
    if subject.weights == "random":
        console.print(RANDOM_NOTE, soft_wrap=True)
    if others is not None and others > DISTURBED:
        console.print(
            f"note: other programs used {others:g} cores meanwhile, so these latencies are not to "
            "be trusted; measure on an idle machine",
            soft_wrap=True,
        )


@dataclass(frozen=True)
class Subject:
    """What is measured, and on what."""

    name: str
    weights: str  # "random" or "trained"
    network: Detector
    inputs: Inputs
    data: Dataset | None = None


def _random(name, ratio, profile, overrides, dataset, data_root, frames) -> Subject:
    """A new network, and frames of a data set or generated ones."""
    spec = detector_spec(name, ratio, profile, overrides)
    data = named_dataset(dataset, data_root, spec, profile, overrides)
    network = build_detector(spec, classes_in(data))
    label = f"{spec.name} at ratio {spec.ratio:g}, {profile or 'published'} options"
    return Subject(label, "random", network, input_frames(data, network.point_range, frames))


def _trained(named: Network, data: Dataset | None, frames: int) -> Subject:
    """A network with its weights, and val frames or generated ones."""
    network = named.load()
    inputs = input_frames(data, network.point_range, frames)
    return Subject(named.label, "trained", network, inputs, data)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Torch's CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

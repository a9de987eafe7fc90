"""What every detector must keep to, checked on a tiny scene. `kdbench check` runs it."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.detector import Detector, merged
from kdbench.ops.heads import focal
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec
from kdbench.runs.store import checksum
from kdbench.taps import Kind
from kdbench.training.conformance import CLASSES, Failed, make_confident, run_checks, tiny_scene
from kdbench.training.tap_conformance import check_detections, check_tap, equal, must

RATIOS = (1.0, 4.0, 16.0)
STEPS, RATE = 8, 1e-3  # of the training that must bring the loss down


def check_detector(spec: DetectorSpec) -> list[str]:
    """Runs every check of a detector with the options of `spec`; returns what was checked.

    The ratios are RATIOS, whatever that of `spec` is. Raises Failed with what went wrong.
    """
    return run_checks(spec.name, ((name, partial(check, spec)) for name, check in CHECKS.items()))


def _built(spec: DetectorSpec, ratio: float = 4.0, seed: int = 0) -> tuple[Detector, Batch]:
    """A network with new weights, and a scene within its range."""
    torch.manual_seed(seed)
    network = build_detector(replace(spec, ratio=ratio), CLASSES)
    return network, tiny_scene(network.point_range)


def _without_points(batch: Batch) -> Batch:
    return replace(batch, points=torch.zeros(0, 5))


def _narrower(spec: DetectorSpec) -> None:
    networks = [_built(spec, ratio)[0] for ratio in RATIOS]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    must(counts[0] > counts[1] > counts[2] > 0, f"{counts} parameters at ratios 1, 4, 16")


def _taps(spec: DetectorSpec) -> None:
    for ratio in RATIOS:
        network, batch = _built(spec, ratio)
        inputs = network.eval().prepare(batch)
        taps = network(inputs)
        named = sorted(name for name in taps if not name.startswith("_"))
        must(named == sorted(network.taps), f"taps {named}, specs {sorted(network.taps)}")
        for name, tap in network.taps.items():
            try:
                check_tap(tap, taps[name], len(batch), network.point_range)
            except Failed as failure:
                raise Failed(f"{name} at ratio {ratio:g}: {failure}") from failure
        staged = merged(network.stages(inputs))
        must(equal(taps, staged), "`stages` gives other taps than `forward`")


def _applies(spec: DetectorSpec) -> None:
    network, batch = _built(spec)
    taps = network.eval()(network.prepare(batch))
    for name, tap in network.taps.items():
        if tap.apply is not None:
            heads = {f"head.{part}": value for part, value in tap.apply(taps[name]).items()}
            same = equal({key: taps.get(key) for key in heads}, heads)
            must(heads and same, f"`apply` of {name} gives other values than the head's taps")


def _asks(spec: DetectorSpec) -> None:
    network, batch = _built(spec)
    taps = network(network.prepare(batch))
    for name, tap in network.taps.items():
        if tap.asked is not None:
            targets, weights = tap.asked(taps, batch)
            total = focal(taps[name], targets, weights)
            losses = network.loss(taps, batch).values()
            one = any(torch.isclose(total, loss, rtol=1e-4) for loss in losses)
            must(one, f"`asked` of {name} comes to {total.item():.6g}, which is none of the losses")


def _rows_correspond(spec: DetectorSpec) -> None:
    (teacher, _), (student, batch) = _built(spec, 1.0), _built(spec, 16.0)
    inputs = student.prepare(batch)
    here, there = teacher.eval()(inputs), student.eval()(inputs)
    for name, tap in student.taps.items():
        if tap.kind in (Kind.ROWS, Kind.POINTS):
            same = torch.equal(here[name].coordinates, there[name].coordinates)
            must(same, f"rows of {name} are other places for another width")


def _losses(network: Detector, batch: Batch) -> dict[str, Tensor]:
    losses = network.loss(network(network.prepare(batch)), batch)
    where = f"of {len(batch.points):,} points"
    must(losses, f"gives no loss {where}")
    for name, value in losses.items():
        must(value.dim() == 0, f"the loss {name} {where} is no scalar")
        must(value.isfinite(), f"the loss {name} {where} is {value.item()}")
    return losses


def _gradients(spec: DetectorSpec) -> None:
    network, batch = _built(spec)
    for cloud in (_without_points(batch), batch):
        network.zero_grad()
        sum(_losses(network, cloud).values()).backward()
        for name, parameter in network.named_parameters():
            found = parameter.grad
            must(found is None or found.isfinite().all(), f"the gradient of {name} is not finite")
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None or not parameter.requires_grad
        must(reached, f"no gradient reaches {name}")


def _learns(spec: DetectorSpec) -> None:
    network, batch = _built(spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    totals = []
    for _ in range(STEPS):
        total = sum(_losses(network, batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    must(totals[-1] < totals[0], f"{STEPS} steps took it from {totals[0]:.3g} to {totals[-1]:.3g}")


def _detects(spec: DetectorSpec) -> None:
    network, batch = _built(spec)
    make_confident(network.eval())
    for cloud in (batch, _without_points(batch)):
        found = network.predict(network(network.prepare(cloud)))
        must(len(found) == len(batch), f"detections of {len(found)} frames, not {len(batch)}")
        for one in found:
            check_detections(one, network.point_range)


def _loads_again(spec: DetectorSpec) -> None:
    (trained, batch), (other, _) = _built(spec, seed=1), _built(spec)
    trained(trained.prepare(batch))  # so that its batch statistics move
    other.load_state_dict(trained.state_dict())
    found, again = (network.eval()(network.prepare(batch)) for network in (trained, other))
    must(equal(found, again), "a network with the same state dict gives other taps")


def _deterministic(spec: DetectorSpec) -> None:
    found = []
    for _ in range(2):
        network, batch = _built(spec)
        losses = {name: value.item() for name, value in _losses(network, batch).items()}
        found.append((checksum(network.state_dict()), losses))
    must(found[0] == found[1], "two builds from one seed gave other weights or losses")
    untouched = tiny_scene(network.point_range)
    must(torch.equal(batch.points, untouched.points), "it changes the batch's points")
    same = all(torch.equal(a, b) for a, b in zip(batch.boxes, untouched.boxes, strict=True))
    must(same, "it changes the batch's boxes")


CHECKS = {
    "fewer parameters at a higher ratio": _narrower,
    "taps are what their specs say": _taps,
    "a tap's `apply` is the rest of the network": _applies,
    "what is `asked` of class scores is what a loss asks": _asks,
    "deterministic under a seed, the batch unchanged": _deterministic,
    "rows of teacher and student correspond": _rows_correspond,
    "finite losses with gradients, without points too": _gradients,
    "the loss falls": _learns,
    "detections are boxes in the LiDAR frame": _detects,
    "a state dict loads again": _loads_again,
}

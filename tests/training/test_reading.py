"""A teacher runs no further than it is looked at, and from folded norms."""

import pytest
import torch

from kdbench.registry import detectors, methods
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.taps import LazyTaps
from kdbench.training.conformance import CLASSES, CONFIDENCE, _networks, make_confident, tiny_scene
from kdbench.training.loop import in_float32
from kdbench.training.teachers import reader

# What of a teacher runs for a method; its parts by the names of its modules.
FAR = {
    "pointdistiller": {"encoder"},
    "at": {"encoder", "backbone"},
    "fitnet": {"encoder", "backbone", "neck"},
    "shuffled": {"encoder", "backbone", "neck"},
    "kd": {"encoder", "backbone", "neck", "head"},
    "label-kd": {"encoder", "backbone", "neck", "head"},
}
FAST = {"pointdistiller": {"method.n": 50, "method.k": 4}}


def a_training(method, detector="pointpillars"):
    spec = build_spec(profile="tiny", method=method, detector=detector, ratio=4,
                      overrides=FAST.get(method))  # fmt: skip
    training, batch = _networks(spec)
    lived_in(training.teacher)
    return training, batch


def lived_in(network):
    """Gives norms statistics, scales and shifts as a training would."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if getattr(module, "running_mean", None) is not None:
            for value, low, high in (
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5), (module.bias.data, -0.3, 0.3),
            ):  # fmt: skip
                value.uniform_(low, high, generator=generator)


@pytest.mark.parametrize("method", FAR)
def test_the_teacher_runs_no_further_than_the_method_looks(method):
    training, batch = a_training(method)
    training.losses(batch)  # folds
    ran = set()
    for name, module in training._reader.named_children():
        parts = module.modules() if name == "backbone" else [module]
        for part in parts:
            part.register_forward_hook(lambda *_, name=name: ran.add(name))
    training.losses(batch)
    assert ran == FAR[method]


@pytest.mark.parametrize("name", detectors.names())
def test_folded_taps_are_the_teachers(name):
    spec = build_spec(profile="tiny", detector=name, method="kd" if name != "pointrcnn" else "self")
    torch.manual_seed(0)
    teacher = build_detector(spec.detector, CLASSES).eval().requires_grad_(False)
    lived_in(teacher)
    inputs = teacher.prepare(tiny_scene(teacher.point_range))
    folded = reader(teacher, methods.get("kd"), inputs)
    assert sum(p.numel() for p in folded.parameters()) != sum(
        p.numel() for p in teacher.parameters()
    )
    plain, found = teacher(inputs), folded(inputs)
    for tap in teacher.taps:
        a, b = (getattr(taps[tap], "features", taps[tap]) for taps in (plain, found))
        assert float((a - b).abs().max() / a.abs().max()) < 1e-5, tap


@pytest.mark.parametrize("name", detectors.names())
def test_stages_are_the_taps_of_forward(name):
    torch.manual_seed(0)
    network = build_detector(build_spec(profile="tiny", detector=name).detector, CLASSES).eval()
    inputs = network.prepare(tiny_scene(network.point_range))
    stages = list(network.stages(inputs))
    assert len(stages) > 2
    whole, parts = network(inputs), {k: v for stage in stages for k, v in stage.items()}
    assert whole.keys() == parts.keys()
    for tap in network.taps:
        a, b = (getattr(taps[tap], "features", taps[tap]) for taps in (whole, parts))
        assert torch.equal(a, b), tap


@pytest.mark.parametrize("method", ["kd", "fitnet", "pointdistiller", "ofd", "label-kd", "self"])
def test_losses_are_those_of_the_plain_form(method):
    (training, batch), (plain, _) = a_training(method), a_training(method)
    plain.reads_from(WholeAtOnce(plain.teacher))
    for training_ in (training, plain):
        torch.manual_seed(3)
        training_.found = training_.losses(batch)
    for name, value in plain.found.items():
        torch.testing.assert_close(training.found[name], value, rtol=1e-4, atol=1e-6)


class WholeAtOnce:
    """A detector that gives all taps at once, as a plugin may."""

    def __init__(self, detector):
        self.detector, self.taps = detector, detector.taps

    def stages(self, inputs):
        yield self.detector(inputs)


def test_a_method_that_reads_the_teachers_state_sees_it_as_it_was_trained():
    seen = []

    class Looks(methods.get("tgi")):
        def prepare_student(self, student, teacher):
            seen.append(set(teacher.state_dict()))

    training, _ = a_training("kd")
    Looks(training.student.taps, training.teacher.taps).prepare_student(
        training.student, training.teacher
    )
    assert any(name.endswith("running_var") for name in seen[0])


def test_teachers_that_change_or_were_never_trained_are_not_folded():
    for name in ("random-teacher", "mean-teacher"):
        training, batch = a_training(name)
        training.losses(batch)
        assert training._reader is training.teacher


def test_stages_run_without_gradients_whoever_reads_them():
    training, batch = a_training("kd")
    taps = training._teacher_taps(training.student.prepare(batch))
    assert isinstance(taps, LazyTaps) and torch.is_grad_enabled()
    assert all(not p.requires_grad for p in training.teacher.parameters())
    assert not taps["neck"].requires_grad and taps["neck"].grad_fn is None
    assert "neck" in taps and "camera" not in taps
    with pytest.raises(KeyError):
        taps["camera"]
    assert in_float32(taps)["head.cls"].dtype == torch.float32


@pytest.mark.parametrize("name", detectors.names())
def test_raised_scores_are_raised_once_however_they_are_read(name):
    """What `kdbench check` does to both networks, seen by both ways of reading."""
    spec = build_spec(profile="tiny", detector=name, method="none", ratio=4)
    torch.manual_seed(0)
    network = build_detector(spec.detector, CLASSES).eval()
    inputs = network.prepare(tiny_scene(network.point_range))
    plain = network(inputs)["head.cls"]
    make_confident(network)
    whole = network(inputs)["head.cls"]
    (staged,) = [stage["head.cls"] for stage in network.stages(inputs) if "head.cls" in stage]
    for raised in (whole, staged):
        torch.testing.assert_close(raised, plain + CONFIDENCE)

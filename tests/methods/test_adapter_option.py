"""The option `adapter` of all methods that have one."""

import pytest
import torch
from torch.nn import functional as F

from kdbench.errors import NotApplicable
from kdbench.methods.fitnet import FitNet
from kdbench.ops.adapters import Adapter, Ensemble, Orthogonal
from kdbench.registry import methods
from kdbench.registry.options import defaults_of
from kdbench.runs.applicability import taps_of
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import DetectorSpec

NAMES = [name for name in methods.names() if "adapter" in defaults_of(methods.get(name))]
BEFORE_RELU = ("ab", "ofd")  # whose targets an ensemble cannot reach


@pytest.fixture(scope="module")
def specs():
    wider = build_detector(DetectorSpec("pointpillars", 64.0), ("Car",))
    return taps_of("pointpillars"), wider.taps


def test_every_method_that_has_an_adapter_has_the_option(specs):
    kinds = [methods.get(name) for name in methods.names()]
    built = {kind.name: kind(*specs) for kind in kinds if not kind.wraps}
    found = [name for name, made in built.items() if adapters_of(made)]
    assert found == NAMES


def adapters_of(method):
    return [module for module in method.modules() if isinstance(module, Adapter)]


@pytest.mark.parametrize("name", NAMES)
def test_the_linear_one_is_what_published_runs_had(name):
    kind = methods.get(name)
    assert kind.neutral["adapter"] == defaults_of(kind)["adapter"] == "linear"
    assert "adapter" not in build_spec(method=name).method.options
    other = build_spec(method=name, overrides={"method.adapter": "orthogonal"})
    assert other.hash != build_spec(method=name).hash


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form, layer", [("ensemble", Ensemble), ("orthogonal", Orthogonal)])
def test_all_adapters_of_a_method_take_its_form(specs, name, form, layer):
    if form == "ensemble" and name in BEFORE_RELU:
        with pytest.raises(NotApplicable, match="ensemble is not applicable"):
            methods.get(name)(*specs, adapter=form)
        return
    adapters = adapters_of(methods.get(name)(*specs, adapter=form))
    assert adapters and all(isinstance(adapter.map, layer) for adapter in adapters)


def test_a_projection_is_held_against_the_normalised_teacher(
    student, teacher, batch, student_specs, teacher_specs
):
    torch.manual_seed(0)
    method = FitNet(student_specs, teacher_specs, tap="neck", adapter="orthogonal").double()
    weight = method.adapters[0].map.layer.weight
    projected = torch.einsum("dc,bchw->bdhw", weight, student["neck"])
    target = F.layer_norm(teacher["neck"].permute(0, 2, 3, 1), [10]).permute(0, 3, 1, 2)
    expected = (projected - target).square().mean()
    assert method(student, teacher, batch)["hint"].item() == pytest.approx(expected.item())

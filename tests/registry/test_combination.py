"""Methods together, by name."""

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.method import Method
from kdbench.methods.fitnet import FitNet
from kdbench.methods.kd import LogitDistillation
from kdbench.registry import methods
from kdbench.registry.combination import combination
from kdbench.registry.contract import check_plugin
from kdbench.runs.build import build_detector, build_method
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.training.conformance import CLASSES, tiny_scene


def test_both_orders_are_one_run():
    specs = [build_spec(method=name) for name in ("kd+fitnet", "fitnet+kd")]
    assert specs[0] == specs[1] and specs[0].method.name == "fitnet+kd"
    assert methods.get("kd+fitnet") is methods.get("fitnet+kd")
    assert RunSpec.from_dict(specs[0].to_dict()) == specs[0]


def test_each_part_has_its_own_options_and_factor():
    overrides = {"method.kd.temperature": 2.0, "method.kd.scale": 0.5}
    spec = build_spec(method="kd+fitnet", overrides=overrides)
    options = spec.method.options
    assert options["kd"]["temperature"] == 2.0 and options["kd"]["scale"] == 0.5
    alone = build_spec(method="kd", overrides={"method.temperature": 2.0, "method.scale": 0.5})
    assert options["kd"] == alone.method.options | {"scale": 0.5}
    assert spec.method.scale == 1.0  # on all of them together: not tuned
    assert options["fitnet"]["scale"] == build_spec(method="fitnet").method.scale


def test_the_profiles_options_reach_the_parts():
    options = build_spec(method="kd+pointdistiller", profile="quick").method.options
    assert options["pointdistiller"]["n"] == 400


def test_losses_are_added_each_with_its_factor():
    spec = build_spec(profile="tiny", method="kd+fitnet", overrides={"method.kd.scale": 3.0})
    networks = [build_detector(network, CLASSES) for network in (spec.detector, spec.full_width())]
    torch.manual_seed(0)
    both = build_method(spec.method, *(network.taps for network in networks))
    scene = tiny_scene(networks[0].point_range)
    student, teacher = (network(network.prepare(scene)) for network in networks)
    found = both(student, teacher, scene)
    kd = LogitDistillation(networks[0].taps, networks[1].taps)(student, teacher, scene)["kd"]
    torch.testing.assert_close(found["kd.kd"], 3 * kd)
    fitnet = both.methods["fitnet"](student, teacher, scene)
    scale = spec.method.options["fitnet"]["scale"]
    for name, term in fitnet.items():
        torch.testing.assert_close(found[f"fitnet.{name}"], scale * term)
    assert isinstance(both.methods["fitnet"], FitNet)
    assert found.keys() == {"kd.kd"} | {f"fitnet.{name}" for name in fitnet}
    assert len(list(both.parameters())) == len(list(both.methods["fitnet"].parameters())) > 0


def test_a_part_that_relabels_still_does():
    seen = []

    class Relabels(Method):
        name = "relabels"

        def relabel(self, batch, teacher, taps):
            seen.append(batch)
            return "other labels"

    both = combination([methods.get("kd"), Relabels])({}, {})
    assert both.relabel("labels", None, {}) == "other labels" and seen == ["labels"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kd+kd", "stands in it twice"),
        ("kd+none", "none has no trained teacher"),
        ("kd+shuffled", "shuffled has no trained teacher of its own"),
        ("kd+fitnett", "did you mean 'fitnet'"),
        ("kd+", "unknown method ''"),
    ],
)
def test_what_cannot_be_together_says_why(name, message):
    with pytest.raises(UsageError, match=message):
        methods.get(name)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method.kdd.temperature": 2}, "did you mean 'kd'"),
        ({"method.kd.temperatur": 2}, "did you mean 'temperature'"),
        ({"method.kd": 3}, "expected options of kd, not 3"),
    ],
)
def test_wrong_options_are_named(overrides, message):
    with pytest.raises(UsageError, match=message):
        build_spec(method="kd+fitnet", overrides=overrides)


def test_two_that_change_the_same_thing_are_refused():
    def relabelling(label):
        members = {"name": label, "relabel": lambda self, batch, teacher, taps: batch}
        return type("Relabels", (Method,), members)

    with pytest.raises(UsageError, match="each of a and b changes the labels"):
        combination([relabelling("b"), relabelling("a")])


def test_a_plugin_may_not_be_called_like_a_combination():
    with pytest.raises(UsageError, match="letters, digits"):
        check_plugin("method", type("Plugin", (Method,), {"name": "a+b"}), "file.py")

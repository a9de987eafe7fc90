"""Active cells and proposals against loops over cells."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.afd_pfd import ActivationAndProposals, active
from kdbench.ops.regions import centre_heat
from kdbench.taps import Kind, TapSpec


@pytest.fixture
def specs(student_specs, teacher_specs):
    """Maps of 12 x 8 m."""
    return [
        {name: replace(spec, cell=1.0) for name, spec in specs.items()}
        for specs in (student_specs, teacher_specs)
    ]


@pytest.fixture
def taps(student, teacher):
    """Maps after a ReLU, in some cells of which nothing is on; few scores are high."""

    def shown(taps):
        maps = {name: taps[name].clamp(min=0) for name in ("backbone.0", "neck")}
        maps["backbone.0"] = maps["backbone.0"] * (taps["neck"].sum(1, keepdim=True) > -1)
        return maps | {"head.cls": taps["head.cls"] - 5}

    return shown(student), shown(teacher)


def afd_pfd(specs, **options):
    torch.manual_seed(0)
    return ActivationAndProposals(*specs, **options).double()


def convolved(adapter, x):
    """A 1x1 convolution of maps (B, C, H, W)."""
    weight, bias = (p.detach().numpy() for p in adapter.parameters())
    return np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], x.numpy()) + bias[:, None, None]


def cells(x):
    frames, _, height, width = x.shape
    return np.ndindex(frames, height, width)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_activation_equals_a_loop_over_cells(specs, taps, scene, threshold):
    method = afd_pfd(specs, threshold=threshold)
    f_s, f_t = (t["backbone.0"].numpy() for t in taps)
    adapted = convolved(method.adapters[0], taps[0]["backbone.0"])
    means = [threshold * f.sum(1).mean() for f in (f_s, f_t)]
    errors = {"both": [], "alone": []}
    for b, y, x in cells(f_s):
        error = ((adapted[b, :, y, x] - f_t[b, :, y, x]) ** 2).sum()
        if f_s[b, :, y, x].sum() > means[0]:
            on = f_t[b, :, y, x].sum() > means[1]
            errors["both" if on else "alone"].append(error)
    assert min(map(len, errors.values())) > 3
    balance = len(errors["both"]) / len(errors["alone"])
    expected = 5 * (3e-4 * sum(errors["both"]) + 5e-5 * balance * sum(errors["alone"])) / 2
    found = method(*taps, scene)["afd"]
    assert found.item() == pytest.approx(expected)
    assert method.logs["alone"].item() == pytest.approx(len(errors["alone"]) / 192)


def test_proposals_equal_a_loop_over_cells(specs, taps, scene):
    method = afd_pfd(specs)
    heat = centre_heat(scene.boxes, specs[1]["neck"], 8, 12).numpy()
    scores = taps[0]["head.cls"].sigmoid().numpy()
    f_s, f_t = convolved(method.neck_adapter, taps[0]["neck"]), taps[1]["neck"].numpy()
    unlike = {"objects": [], "false": []}
    for b, y, x in cells(f_s):
        s, t = (np.exp(f[b, :, y, x]) for f in (f_s, f_t))
        distance = abs(s / s.sum() - t / t.sum()).sum()
        if heat[b, y, x] > 0.1:
            unlike["objects"].append(distance)
        elif scores[b, y, x].max() > 0.1:
            unlike["false"].append(distance)
    assert all(3 < len(x) < 150 for x in unlike.values())
    expected = 25 * (5 * np.mean(unlike["objects"]) + np.mean(unlike["false"]))
    assert method(*taps, scene)["pfd"].item() == pytest.approx(expected)


def test_equal_networks_cost_nothing_and_have_no_cell_alone(specs, taps, scene):
    method = afd_pfd([specs[1]] * 2)
    method.share_adapters()
    assert sum(method(taps[1], taps[1], scene).values()) < 1e-9
    assert method.logs["alone"] == 0


def test_a_batch_without_objects_scores_or_activity_costs_nothing(specs, taps, batch):
    quiet = {name: torch.zeros_like(x) for name, x in taps[0].items()}
    quiet["head.cls"] = quiet["head.cls"] - 9
    method = afd_pfd(specs)
    assert sum(method(quiet, taps[1], batch).values()) == 0


def test_cells_that_are_off_do_not_count_when_the_threshold_is_published(taps):
    x = taps[1]["backbone.0"]
    off = (x == 0).all(1)
    assert 0 < off.sum() < off.numel()
    assert torch.equal(active(x, 0.0), ~off)


def test_maps_of_several_stages_are_averaged(specs, taps, scene):
    more = [{"backbone.1": torch.rand(2, c, 4, 6).double()} for c in (6, 10)]
    later = [own | maps for own, maps in zip(taps, more, strict=True)]
    both = afd_pfd(specs, tap="backbone.[01]")
    single = []
    for i in range(2):
        one = afd_pfd(specs, tap=f"backbone.{i}")
        one.adapters[0].load_state_dict(both.adapters[i].state_dict())
        single.append(one(*later, scene)["afd"].item())
    assert both(*later, scene)["afd"].item() == pytest.approx(sum(single) / 2)


def test_a_map_before_its_relu_has_no_activity(specs):
    affine = torch.ones(3), torch.zeros(3)
    before = {"preact.0": TapSpec(Kind.BEV, 3, affine=affine)}
    with pytest.raises(UsageError, match="preact.0 is a map before its ReLU"):
        afd_pfd([s | before for s in specs], tap="preact.0")


def test_gradient_equals_finite_differences(specs, taps, scene):
    method = afd_pfd(specs)
    x = {name: taps[0][name][..., :6].clone().requires_grad_() for name in ("backbone.0", "neck")}
    heads, fixed = taps[0]["head.cls"][:, :, :6], {n: f[..., :6] for n, f in taps[1].items()}

    def loss(low, high):
        shown = {"backbone.0": low, "neck": high, "head.cls": heads}
        return sum(method(shown, fixed, scene).values())

    assert gradcheck(loss, tuple(x.values()))

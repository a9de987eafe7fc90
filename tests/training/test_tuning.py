"""The budget of a factor, and what it finds."""

from dataclasses import replace

import pytest
import torch

from kdbench.errors import KdbenchError, NotApplicable, TrainingDiverged
from kdbench.registry import methods
from kdbench.training import tuning
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.progress import Reporter
from kdbench.training.tuning import HeldOut, Probe, Tuner, check_tunable, chosen, scale_of

CPU = torch.device("cpu")


@pytest.fixture
def prepared(make_runner, make_spec, monkeypatch):
    """A run whose teacher is trained, and its data set; probes of four steps."""
    monkeypatch.setattr(tuning, "PROBE_STEPS", 4)
    monkeypatch.setattr(tuning, "PROBE_EVERY", 2)
    return make_runner().prepare(make_spec("fitnet"))


def tuner(dataset, **options):
    return Tuner(dataset, CPU, Reporter(True), steps=2, **options)


def test_held_out_frames_are_training_frames_and_not_trained_on(dataset):
    held = HeldOut(dataset)
    train, val = held.ids("train"), held.ids("val")
    assert sorted(train + val) == sorted(dataset.ids("train"))
    assert val and train
    assert held.fingerprint() != dataset.fingerprint()
    assert held.frame(val[0]).id == val[0]


def test_the_share_is_that_of_the_gradient_where_the_loss_acts(prepared):
    spec, dataset = prepared
    probe = tuner(dataset)._training(spec, Probe)
    state = probe.initial_state()
    losses = probe.losses(next(probe.batches(0)))  # the first call measures
    gradients = {}
    for name in ("detection", "distillation"):
        total = sum(v for k, v in losses.items() if k.startswith("kd.") == (name != "detection"))
        state.optimizer.zero_grad()
        total.backward(retain_graph=True)
        gradients[name] = {n: p.grad for n, p in probe.student.named_parameters()}
    reached = [n for n, g in gradients["distillation"].items() if g is not None and g.any()]
    assert 0 < len(reached) < len(gradients["detection"])  # not the head
    norms = {
        name: torch.sqrt(sum(of[n].square().sum() for n in reached)).item()
        for name, of in gradients.items()
    }
    share = norms["distillation"] / (norms["distillation"] + norms["detection"])
    assert share == pytest.approx(tuning.PROBE_SHARE, rel=1e-3)


def test_scale_of_a_share():
    balance = 3.0
    for share in (0.1, 0.5, 0.9):
        s = scale_of(share, balance)
        assert s / (s + balance) == pytest.approx(share)


@pytest.mark.parametrize(
    ("balance", "names"),
    [
        (1.0, ["20%", "50%"]),  # published weights are those of 50 %
        (4.4, ["20%", "50%"]),  # and nearly those of 20 %
        (0.3, ["20%", "50%", "published"]),
        (0.01, ["20%", "50%"]),  # drown the labels
        (60.0, ["20%", "50%"]),  # cannot be seen
        (20.0, ["20%", "50%", "published"]),
    ],
)
def test_published_weights_are_tried_where_they_are_worth_it(balance, names):
    factors = tuning.candidate_factors(balance, (0.2, 0.5))
    assert list(factors) == names
    assert factors["50%"] == pytest.approx(balance, rel=0.05)


def zero(noise=1.0, bev=0.0, three=0.0):
    return {"noise": noise, "bev_map": bev, "3d_map": three, "runs": []}


def test_every_candidate_has_the_same_budget_and_the_outcome_repeats(prepared):
    spec, dataset = prepared
    outcome = tuner(dataset).tune(spec, zero())
    assert [c["name"] for c in outcome["candidates"]] == ["0", "2%", "10%", "30%"]
    shares = [c["share"] for c in outcome["candidates"]]
    assert shares == pytest.approx([0, 0.02, 0.1, 0.3], abs=0.01)
    assert outcome["published_share"] < 0.02
    assert outcome["scale"] in [c["scale"] for c in outcome["candidates"][1:]]
    assert outcome["budget"] == {"probe_steps": 4, "steps": 2, "held_out_frames": 1}
    assert tuner(dataset).tune(spec, zero()) == outcome


def test_candidate_0_is_none_with_several_seeds(prepared):
    spec, dataset = prepared
    found = tuner(dataset).zero(spec, seeds=2)
    held = replace(tuner(dataset), dataset=HeldOut(dataset))
    second = held.trained(replace(spec.baseline(), seed=1), "again")
    assert found["runs"][1] == {"seed": 1} | second
    means = [tuning.mean_map(run) for run in found["runs"]]
    assert found["noise"] == pytest.approx(abs(means[0] - means[1]), abs=2e-3)  # sqrt(2) s
    assert found["bev_map"] == pytest.approx(sum(r["bev_map"] for r in found["runs"]) / 2, abs=1e-3)


def test_a_method_without_a_gradient_keeps_its_published_weights(prepared, monkeypatch):
    spec, dataset = prepared
    monkeypatch.setattr(Probe, "_balance", lambda *a: None)
    outcome = tuner(dataset).tune(spec, zero())
    assert (outcome["scale"], outcome["published_share"], outcome["helps"]) == (1.0, None, False)
    assert [c["name"] for c in outcome["candidates"]] == ["0"]


def test_a_candidate_that_diverges_is_no_candidate(prepared, monkeypatch):
    spec, dataset = prepared
    run = Training.run

    def diverging(training):
        if not tried:
            tried.append(training)
            raise TrainingDiverged("too much")
        return run(training)

    tried = []
    monkeypatch.setattr(Training, "run", diverging)
    outcome = tuner(dataset).tune(spec, zero())
    assert [c["bev_map"] is None for c in outcome["candidates"]] == [False, True, False, False]
    assert outcome["scale"] in [c["scale"] for c in outcome["candidates"][2:]]


def candidate(scale, bev, three):
    return {"scale": scale, "bev_map": bev, "3d_map": three}


@pytest.mark.parametrize(
    ("noise", "nothing", "winner"),
    [
        (0, (5, 5), 0.5),  # the best alone is within no noise
        (0, (9, 9), 0.1),  # nothing is as good as 0: the least
        (2, (5, 5), 0.1),  # all are equals: the least
        (1, (9, 5), 0.5),  # 0 is among the equals, and is no candidate of its own
    ],
)
def test_the_least_factor_within_noise_of_the_best_wins(noise, nothing, winner):
    candidates = [candidate(1, 10, 5), candidate(0.1, 7, 6), candidate(0.5, 8, 8)]
    assert chosen(candidates, candidate(0, *nothing), noise)["scale"] == winner
    with pytest.raises(KdbenchError, match="every candidate diverged"):
        chosen([candidate(1, None, None)], candidate(0, *nothing), noise)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", "teaches by no loss"),
        ("tgi", "teaches by no loss"),
        ("shuffled", "of the method it wraps"),
    ],
)
def test_what_cannot_be_tuned_says_why(name, reason):
    with pytest.raises(NotApplicable, match=reason):
        check_tunable(methods.get(name))


def test_the_factor_is_on_the_methods_losses_alone(prepared):
    spec, dataset = prepared

    def losses(scale):
        scaled = replace(spec, method=replace(spec.method, scale=scale))
        training = tuner(dataset)._training(scaled, Training)
        return training.losses(next(training.batches(0)))

    once, thrice = losses(1.0), losses(3.0)
    for name, value in once.items():
        factor = 3 if name.startswith("kd.") else 1
        torch.testing.assert_close(thrice[name], factor * value)


def test_a_data_set_is_cropped_as_the_run_sees_it(make_spec, kitti_tree):
    held = HeldOut(build_dataset(make_spec(), str(kitti_tree)))
    points = held.frame(held.ids("val")[0]).points
    assert (points[:, 0] < 20.48).all()

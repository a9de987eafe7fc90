"""PointDistiller against loops over centres, neighbours and channels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdbench.methods.pointdistiller import GraphLayer, PointDistiller
from kdbench.taps import Kind, Rows, TapSpec

STUDENT, TEACHER, N, K = 3, 5, 4, 6


def distiller(**options):
    torch.manual_seed(0)
    specs = [{"voxel": TapSpec(Kind.ROWS, c)} for c in (STUDENT, TEACHER)]
    return PointDistiller(*specs, **{"n": N, "k": K} | options).double()


def with_counts(taps, counts):
    """The same taps with other counts of points."""
    return {"voxel": replace(taps["voxel"], counts=counts)}


def normalised_edges(layer, rows, centres, neighbours):
    """ReLU(BN(W [neighbour, centre] + b)) as (m, k, c), one edge at a time."""
    p = {name: x.detach().numpy() for name, x in layer.named_parameters()}
    weight = np.concatenate([p["neighbour.weight"], p["centre.weight"]], axis=1)
    edges = np.array(
        [
            [weight @ np.concatenate([rows[j], rows[i]]) + p["neighbour.bias"] for j in near]
            for i, near in zip(centres, neighbours, strict=True)
        ]
    )
    flat = edges.reshape(-1, edges.shape[-1])
    edges = (edges - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
    edges = edges * p.get("norm.weight", 1.0) + p.get("norm.bias", 0.0)
    return np.maximum(edges, 0)


def softmax(x):
    exponential = np.exp(x - x.max())
    return exponential / exponential.sum()


def chosen(rows, candidates, counts, n, k):
    """The n candidates with the most points, and the k candidates nearest to each."""
    centres = sorted(candidates, key=lambda i: -counts[i])[:n]
    near = [sorted(candidates, key=lambda j: ((rows[i] - rows[j]) ** 2).sum())[:k] for i in centres]
    return centres, [x + [x[0]] * (k - len(x)) for x in near]


def edges_of(method, student, teacher, centres, neighbours):
    return [
        normalised_edges(layer, taps["voxel"].features.detach().numpy(), centres, neighbours)
        for layer, taps in ((method.student_graph, student), (method.teacher_graph, teacher))
    ]


def released_loop(method, student, teacher):
    """2 mean( w (G_T - G_S)^2 ), w = N softmax(count / 0.01)."""
    rows = teacher["voxel"]
    counts = np.minimum(rows.counts.numpy(), 32)  # the code's voxels hold 32 points
    everything = range(len(counts))  # all frames of the batch
    centres, near = chosen(rows.features.numpy(), everything, counts, method.n, method.k)
    graph_s, graph_t = edges_of(method, student, teacher, centres, near)
    weight = len(centres) * softmax(counts[centres] / 1e-2)
    terms = [
        weight[i] * (graph_t[i, j, c] - graph_s[i, j, c]) ** 2
        for i, j, c in np.ndindex(graph_t.shape)
    ]
    return 2 * np.mean(terms)


def paper_loop(method, student, teacher):
    """2 sum_i phi_i mean_c (G_T,i - G_S,i)^2 of each frame, mean over frames; G = max_j."""
    rows = teacher["voxel"]
    counts, frame = rows.counts.numpy(), rows.coordinates[:, 0].numpy()
    centres, near, phi = [], [], []
    for f in np.unique(frame):
        mine = np.flatnonzero(frame == f).tolist()
        of_frame, neighbours = chosen(rows.features.numpy(), mine, counts, method.n, method.k)
        score = counts[of_frame] / counts[of_frame].max()
        centres, near = centres + of_frame, near + neighbours
        phi += (softmax(score / method.tau) / len(np.unique(frame))).tolist()
    graph_s, graph_t = edges_of(method, student, teacher, centres, near)
    error = ((graph_t.max(1) - graph_s.max(1)) ** 2).mean(1)
    return 2 * sum(p * e for p, e in zip(phi, error, strict=True))


LOOPS = {"paper": paper_loop, "released": released_loop}
both = pytest.mark.parametrize("variant", PointDistiller.variants)


@both
@pytest.mark.parametrize("n, k", [(4, 6), (1, 3), (6, 1), (9, 12)])
def test_equals_a_loop(student, teacher, batch, variant, n, k):
    method = distiller(variant=variant, n=n, k=k, weight=3.0)
    expected = 3 * LOOPS[variant](method, student, teacher)
    assert method(student, teacher, batch)["graph"].item() == pytest.approx(expected)


def test_more_voxels_and_neighbours_than_a_frame_has(student, teacher, batch):
    method = distiller(n=100, k=50)
    expected = paper_loop(method, student, teacher)
    assert method(student, teacher, batch)["graph"].item() == pytest.approx(expected)


def test_paper_is_the_default_with_the_published_n_and_k():
    method = PointDistiller(*[{"voxel": TapSpec(Kind.ROWS, c)} for c in (16, 64)])
    assert (method.variant, method.n, method.k) == ("paper", 6000, 128)
    assert method.student_graph.neighbour.out_features == 16  # c' is the student's width


@both
def test_equal_rows_cost_nothing_once_the_layers_are_shared(teacher, batch, variant):
    spec = {"voxel": TapSpec(Kind.ROWS, TEACHER)}
    method = PointDistiller(spec, spec, variant=variant, n=N, k=K).double()
    assert method(teacher, teacher, batch)["graph"] > 0
    method.share_adapters()
    assert method(teacher, teacher, batch)["graph"] == 0


@both
def test_the_student_and_both_layers_learn(student, teacher, batch, variant):
    method = distiller(variant=variant)
    student["voxel"].features.requires_grad_()
    method(student, teacher, batch)["graph"].backward()
    assert student["voxel"].features.grad.any()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name


@both
def test_gradient_equals_a_finite_difference(student, teacher, batch, variant):
    method, x = distiller(variant=variant), student["voxel"].features.requires_grad_()
    method(student, teacher, batch)["graph"].backward()
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))

    def moved(step):
        rows = replace(student["voxel"], features=x.detach() + step * direction)
        return method({"voxel": rows}, teacher, batch)["graph"].item()

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert (x.grad * direction).sum().item() == pytest.approx(slope, rel=1e-4)


# Importance


def realistic_counts(n=2000):
    """Points a pillar: most hold one, few hold hundreds."""
    counts = np.random.default_rng(0).pareto(0.9, n) + 1
    return torch.from_numpy(np.minimum(counts, 400).astype(np.int64))


def importance(method, counts):
    return method._importance(counts.double())


@pytest.mark.parametrize("tau", [0.1, 0.25, 1.0])
def test_no_paper_weight_exceeds_another_by_more_than_tau_allows(tau):
    weight = importance(distiller(tau=tau), realistic_counts())
    assert weight.sum().item() == pytest.approx(1)
    assert 1 < weight.max() / weight.min() <= math.exp(1 / tau)


def test_by_default_many_voxels_carry_weight_in_paper():
    weight = importance(distiller(), realistic_counts())
    assert 1 / weight.square().sum() > 100  # how many voxels count, in effect


def test_paper_weights_do_not_depend_on_the_density_of_the_cloud():
    counts = realistic_counts()
    method = distiller()
    torch.testing.assert_close(importance(method, counts), importance(method, 10 * counts))


def test_released_weights_leave_only_the_fullest_voxels():
    counts = torch.tensor([32, 31, 32, 1])
    weight = importance(distiller(variant="released"), counts)
    torch.testing.assert_close(weight, torch.tensor([0.5, 0, 0.5, 0], dtype=torch.float64))


def test_released_takes_counts_above_32_for_32(student, teacher, batch):
    method = distiller(variant="released", n=24)
    capped = with_counts(teacher, teacher["voxel"].counts.clamp(max=32))
    found = method(student, teacher, batch)["graph"]
    torch.testing.assert_close(found, method(student, capped, batch)["graph"])
    paper = distiller(variant="paper", n=24)
    assert paper(student, teacher, batch)["graph"] != paper(student, capped, batch)["graph"]


def test_each_frame_weighs_the_same_in_paper(teacher):
    rows = teacher["voxel"]
    frame = rows.coordinates[:, 0]
    centre, _, weight = distiller()._select(rows.features, rows.counts, frame)
    for f in (0, 1):
        assert weight[frame[centre] == f].sum().item() == pytest.approx(0.5)


# Neighbours


def test_neighbours_never_cross_frames_in_paper(teacher):
    rows = teacher["voxel"]
    frame = rows.coordinates[:, 0]
    centre, near, _ = distiller(n=24, k=8)._select(rows.features, rows.counts, frame)
    assert (frame[near] == frame[centre].unsqueeze(1)).all()
    assert torch.equal(near[:, 0], centre)


def test_neighbours_cross_frames_in_released(student, teacher, batch):
    method, rows = distiller(variant="released"), teacher["voxel"]
    one_frame = {"voxel": replace(rows, coordinates=torch.zeros_like(rows.coordinates))}
    found = method(student, teacher, batch)["graph"]
    torch.testing.assert_close(found, method(student, one_frame, batch)["graph"])


def test_frames_together_give_the_mean_of_each_alone_in_paper(student, teacher, batch):
    method = distiller().eval()  # batch statistics would see other edges

    def part(taps, f):
        rows = taps["voxel"]
        mine = rows.coordinates[:, 0] == f
        return {"voxel": Rows(*(x[mine] for x in vars(rows).values()))}

    alone = [method(part(student, f), part(teacher, f), batch)["graph"] for f in (0, 1)]
    torch.testing.assert_close(method(student, teacher, batch)["graph"], sum(alone) / 2)


@pytest.mark.parametrize("rows", [0, 1])
@both
def test_too_few_voxels_give_zero_with_a_gradient(batch, variant, rows):
    def few(channels):
        x = torch.ones(rows, channels, dtype=torch.float64, requires_grad=True)
        places = torch.zeros(rows, 3, dtype=torch.long)
        return {"voxel": Rows(x, places, torch.ones(rows, dtype=torch.long))}

    loss = distiller(variant=variant)(few(STUDENT), few(TEACHER), batch)["graph"]
    loss.backward()
    assert loss == 0


# Graph layer


@pytest.mark.parametrize("learned_scale", [True, False])
def test_the_split_layer_is_the_linear_layer_of_the_concatenation(learned_scale):
    torch.manual_seed(0)
    layer = GraphLayer(5, 4, learned_scale).double()
    rows = torch.randn(12, 5, dtype=torch.float64, requires_grad=True)
    centre, near = torch.randint(12, (6,)), torch.randint(12, (6, 7))

    pairs = torch.cat([rows[near], rows[centre].unsqueeze(1).expand(-1, 7, -1)], dim=-1)
    weight = torch.cat([layer.neighbour.weight, layer.centre.weight], dim=1)
    linear = F.linear(pairs, weight, layer.neighbour.bias).flatten(0, 1)
    scale = (layer.norm.weight, layer.norm.bias) if learned_scale else (None, None)
    direct = F.batch_norm(linear, None, None, *scale, training=True).relu().view(6, 7, 4)

    split = layer(rows, centre, near)
    torch.testing.assert_close(split, direct)
    over = [rows, *layer.parameters()]
    factors = torch.randn(6, 7, 4, dtype=torch.float64)
    gradients = [torch.autograd.grad((x * factors).sum(), over) for x in (split, direct)]
    torch.testing.assert_close(*gradients)


def test_only_released_has_a_scale_that_can_shrink_to_zero():
    scales = {
        variant: [n for n, _ in distiller(variant=variant).named_parameters() if "norm" in n]
        for variant in PointDistiller.variants
    }
    assert scales["paper"] == []
    assert len(scales["released"]) == 4

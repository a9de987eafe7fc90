"""PointDistiller against loops over centres, neighbours and channels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdbench.errors import UsageError
from kdbench.methods.pointdistiller import PointDistiller
from kdbench.ops.graphs import GraphLayer, local_graphs
from kdbench.ops.rows import by_frame, cells_as_rows
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
        for layer, taps in (
            (method.student_graphs[0], student),
            (method.teacher_graphs[0], teacher),
        )
    ]


def released_loop(method, student, teacher):
    """2 mean( w (G_T - G_S)^2 ), w = N softmax(count / 0.01)."""
    rows = teacher["voxel"]
    counts = np.minimum(rows.counts.numpy(), 32)  # the code's voxels hold 32 points
    everything = range(len(counts))  # all frames of the batch
    n = method.n * len(rows.coordinates[:, 0].unique())
    centres, near = chosen(rows.features.numpy(), everything, counts, n, method.k)
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
@pytest.mark.parametrize("n, k", [(4, 6), (2, 3), (6, 1), (9, 12)])
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
    assert (method.released, method.n, method.k) == (False, 6000, 128)
    assert method.student_graphs[0].neighbour.out_features == 16  # c' is the student's width


def test_released_takes_6000_pillars_of_six_frames_and_6000_points_of_one():
    assert distiller(variant="released", n=0).n == 1000
    points = [{"points": TapSpec(Kind.POINTS, c)} for c in (STUDENT, TEACHER)]
    assert PointDistiller(*points, variant="released").n == 6000


def test_another_tap_than_the_published_one_can_be_taken(batch):
    specs = [
        {"voxel": TapSpec(Kind.ROWS, c)} | map_specs(c, counts=True) for c in (STUDENT, TEACHER)
    ]
    assert PointDistiller(*specs).taps == ["voxel"]
    torch.manual_seed(0)
    options = {"cells": N, "k": K, "channels": 4}
    method = PointDistiller(*specs, tap="backbone.*", **options).double()
    taps = map_taps(STUDENT, 1), map_taps(TEACHER, 2)
    assert method(*taps, batch)["graph"] == over_maps()(*taps, batch)["graph"]
    for wrong in ("neck", "*"):  # not there; of several kinds
        with pytest.raises(UsageError, match="option tap"):
            PointDistiller(*specs, tap=wrong)


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
    return method._weight(counts.double(), torch.zeros(len(counts), 1), [len(counts)])


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
    frame, method = rows.coordinates[:, 0], distiller()
    centre, _, sizes = local_graphs(rows.features, rows.counts, by_frame(frame), N, K)
    weight = method._weight(rows.counts[centre].double(), rows.features[centre], sizes)
    for f in (0, 1):
        assert weight[frame[centre] == f].sum().item() == pytest.approx(0.5)


# Neighbours


def test_neighbours_never_cross_frames_in_paper(teacher):
    rows = teacher["voxel"]
    frame = rows.coordinates[:, 0]
    centre, near, _ = local_graphs(rows.features, rows.counts, by_frame(frame), 24, 8)
    assert (frame[near] == frame[centre].unsqueeze(1)).all()
    assert torch.equal(near[:, 0], centre)


def test_neighbours_cross_frames_in_released(student, teacher, batch):
    method, rows = distiller(variant="released"), teacher["voxel"]
    one_frame = {"voxel": replace(rows, coordinates=torch.zeros_like(rows.coordinates))}
    found = method(student, teacher, batch)["graph"]
    method.n *= 2  # as many of the one as of the two
    torch.testing.assert_close(found, method(student, one_frame, batch)["graph"])


def test_frames_together_give_the_mean_of_each_alone_in_paper(student, teacher, batch):
    method = distiller().eval()  # batch statistics would see other edges

    def part(taps, f):
        rows = taps["voxel"]
        mine = rows.coordinates[:, 0] == f
        return {"voxel": rows[mine]}

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


# Maps


MAPS = ("backbone.0", "backbone.1")


def map_specs(channels, counts):
    specs = {name: TapSpec(Kind.BEV, channels) for name in MAPS}
    return specs | ({"counts": TapSpec(Kind.COUNTS, 1)} if counts else {})


def over_maps(counts=True, **options):
    torch.manual_seed(0)
    specs = [map_specs(c, counts) for c in (STUDENT, TEACHER)]
    return PointDistiller(*specs, **{"cells": N, "k": K, "channels": 4} | options).double()


def map_taps(channels, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = zip(MAPS, [(4, 6), (2, 3)], strict=True)
    taps = {
        name: torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)
        for name, size in sizes
    }
    points = torch.randint(0, 50, (2, 1, 4, 6), generator=torch.Generator().manual_seed(9))
    return taps | {"counts": points.double()}


def as_voxels(taps, name, counts):
    """The same problem with voxels: a row a cell, frame by frame."""
    x = taps[name]
    frame = torch.arange(2).repeat_interleave(x[0, 0].numel())
    places = torch.stack([frame, frame, frame], dim=1)
    return {"voxel": Rows(x.permute(0, 2, 3, 1).reshape(len(frame), -1), places, counts)}


def test_points_over_a_cell_are_those_over_the_cells_it_covers():
    taps = map_taps(STUDENT, 1)
    fine = cells_as_rows(taps["backbone.0"], taps["counts"])
    coarse = cells_as_rows(taps["backbone.1"], taps["counts"])
    assert torch.equal(fine.counts, taps["counts"].flatten().long())
    for row in range(12):
        f, y, x = coarse.coordinates[row].tolist()
        window = taps["counts"][f, 0, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        assert coarse.counts[row] == window.sum()
        assert torch.equal(coarse.features[row], taps["backbone.1"][f, :, y, x])


def test_paper_over_maps_is_paper_over_their_cells(batch):
    student, teacher = map_taps(STUDENT, 1), map_taps(TEACHER, 2)
    method, expected = over_maps(weight=3.0), 0.0
    for i, name in enumerate(MAPS):
        counts = cells_as_rows(teacher[name], teacher["counts"]).counts
        single = distiller()
        single.student_graphs[0] = method.student_graphs[i]
        single.teacher_graphs[0] = method.teacher_graphs[i]
        voxels = [as_voxels(taps, name, counts) for taps in (student, teacher)]
        expected += 3 * paper_loop(single, *voxels)
    assert method(student, teacher, batch)["graph"].item() == pytest.approx(expected)


@pytest.mark.parametrize("counts", [True, False])
def test_released_over_maps_weighs_nothing_and_grows_with_the_batch(batch, counts):
    student, teacher = map_taps(STUDENT, 1), map_taps(TEACHER, 2)
    method, expected = over_maps(counts, variant="released"), 0.0
    for i, name in enumerate(MAPS):
        rows = [as_voxels(taps, name, None)["voxel"] for taps in (student, teacher)]
        score = rows[1].features.amax(1)
        of_frames = by_frame(rows[1].coordinates[:, 0])
        centre, near, _ = local_graphs(rows[1].features, score, of_frames, N, K)
        edges = [
            normalised_edges(graphs[i], r.features.numpy(), centre.tolist(), near.tolist())
            for graphs, r in zip((method.student_graphs, method.teacher_graphs), rows, strict=True)
        ]
        expected += 2 * len(of_frames) * np.mean((edges[1] - edges[0]) ** 2)
    assert method(student, teacher, batch)["graph"].item() == pytest.approx(expected)


# Points


def over_points(**options):
    torch.manual_seed(0)
    specs = [{"points": TapSpec(Kind.POINTS, c)} for c in (STUDENT, TEACHER)]
    return PointDistiller(*specs, **{"n": N, "k": K} | options).double()


@both
def test_over_points_equals_a_loop(student, teacher, batch, variant):
    method = over_points(variant=variant)
    rows = [replace(t["voxel"], counts=torch.ones(24).long()) for t in (student, teacher)]
    score = rows[1].features.amax(1).numpy()
    expected, of_frames = 0.0, by_frame(rows[1].coordinates[:, 0])
    found = [chosen(rows[1].features.numpy(), f.tolist(), score, N, K) for f in of_frames]
    centres, near = (sum(part, []) for part in zip(*found, strict=True))
    layers = (method.student_graphs[0], method.teacher_graphs[0])
    graph_s, graph_t = (
        normalised_edges(layer, r.features.numpy(), centres, near).max(1)
        for layer, r in zip(layers, rows, strict=True)
    )
    error = ((graph_t - graph_s) ** 2).mean(1)
    for f in range(2):
        mine = slice(f * N, (f + 1) * N)
        largest = graph_t[mine].max(1)
        phi = softmax(largest / (method.tau * largest.max())) / 2
        weight = phi if variant == "paper" else np.full(N, 1 / (2 * N))
        expected += 2 * (weight * error[mine]).sum()
    points = [{"points": r} for r in rows]
    assert method(*points, batch)["graph"].item() == pytest.approx(expected)


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

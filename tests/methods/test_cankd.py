"""Attention of all cells to all cells, against NumPy, and what memory it takes."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.autograd.graph import saved_tensors_hooks

from kdbench.methods.cankd import CrossAttention, CrossAttentionDistillation
from kdbench.taps import Kind, TapSpec


def cankd(student_specs, teacher_specs, **options):
    """With an attention that has its say, as after some steps."""
    torch.manual_seed(0)
    method = CrossAttentionDistillation(student_specs, teacher_specs, **options).double()
    torch.nn.init.uniform_(method.attention.norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(method.attention.norm.bias)
    return method


def convolved(layer, x):
    """A 1x1 convolution of maps (B, C, H, W)."""
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    return np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], x) + bias[:, None, None]


def pooled(x, side):
    """The largest of each square of a map (B, C, H, W), one column after the other."""
    rows, columns = (size // side for size in x.shape[2:])
    squares = [
        x[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side].max((2, 3))
        for r in range(rows)
        for c in range(columns)
    ]
    return np.stack(squares, axis=2)


def standardised(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def attended(block, x, y):
    """By the weights of each position on each: softmax-free attention as it is written."""
    query = convolved(block.query, x)
    key, value = (pooled(convolved(f, y), block.pool) for f in (block.key, block.value))
    heard = np.zeros_like(query)
    for frame, row, column in np.ndindex(len(x), *x.shape[2:]):
        weights = query[frame, :, row, column] @ key[frame] / key.shape[2]
        heard[frame, :, row, column] = value[frame] @ weights
    scale, shift = (p.detach().numpy()[:, None, None] for p in block.norm.parameters())
    return x + standardised(convolved(block.out, heard), (0, 2, 3)) * scale + shift


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_equals_a_loop_over_cells(student, teacher, batch, student_specs, teacher_specs, pool):
    method = cankd(student_specs, teacher_specs, pool=pool, weight=3.0)
    target = teacher["neck"].numpy()
    heard = attended(method.attention, convolved(method.adapter.map, student["neck"]), target)
    error = standardised(heard, (2, 3)) - standardised(target, (2, 3))
    found = method(student, teacher, batch)["attention"].item()
    assert found == pytest.approx(1.5 * (error**2).mean())


def test_at_first_the_student_stands_alone(student, teacher, batch, student_specs, teacher_specs):
    torch.manual_seed(0)
    method = CrossAttentionDistillation(student_specs, teacher_specs).double()
    adapted = method.adapter(student["neck"])
    assert torch.equal(method.attention(adapted, teacher["neck"]), adapted)
    method(student, teacher, batch)["attention"].backward()
    assert method.attention.norm.weight.grad.any()


def test_equal_networks_cost_nothing(teacher, batch, teacher_specs):
    method = CrossAttentionDistillation(teacher_specs, teacher_specs).double()
    method.share_adapters()
    assert method(teacher, teacher, batch)["attention"] == 0
    brighter = {"neck": 2 * teacher["neck"] + 1}
    assert method(brighter, teacher, batch)["attention"] < 1e-6


def test_frames_without_points_have_a_finite_loss(student, batch, student_specs, teacher_specs):
    blank = {"neck": torch.zeros(2, 10, 8, 12, dtype=torch.float64)}
    method = cankd(student_specs, teacher_specs)
    student["neck"] = torch.zeros_like(student["neck"]).requires_grad_()
    loss = method(student, blank, batch)["attention"]
    loss.backward()
    assert loss.isfinite() and student["neck"].grad.isfinite().all()


def kept(block, *maps):
    """Bytes that the attention keeps for its backward pass, and of the largest tensor of them."""
    sizes = {}

    def note(x):
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with saved_tensors_hooks(note, lambda x: x):
        result = block(*maps)
    assert result.requires_grad
    return sum(sizes.values()), max(sizes.values())


@pytest.mark.parametrize("height, width", [(24, 32), (48, 64)])
def test_memory_grows_as_the_map_does(height, width):
    """No tensor is larger than the map; the weights of 48 x 64 cells would be 24 times it."""
    channels = 32
    block = CrossAttention(channels, 2)
    maps = [torch.rand(1, channels, height, width) for _ in range(2)]
    whole, largest = kept(block, *maps)
    size = 4 * channels * height * width
    assert largest == size
    assert whole < 6 * size


def test_gradient_equals_finite_differences(student, teacher, batch, student_specs, teacher_specs):
    method = cankd(student_specs, teacher_specs)
    fixed = {"neck": teacher["neck"][:, :, :4, :4]}
    x = student["neck"][:, :, :4, :4].clone().requires_grad_()
    assert gradcheck(lambda x: method({"neck": x}, fixed, batch)["attention"], x)


def test_odd_maps_lose_their_last_cells_as_keys_only():
    spec = {"neck": TapSpec(Kind.BEV, 4)}
    method = CrossAttentionDistillation(spec, spec)
    x = {"neck": torch.rand(1, 4, 7, 5)}
    assert method(x, {"neck": torch.rand(1, 4, 7, 5)}, None)["attention"] > 0

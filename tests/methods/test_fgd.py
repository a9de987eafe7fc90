"""Focal and global distillation against loops over cells and channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.methods.fgd import FocalGlobalDistillation, GlobalContext, attention

HEIGHT, WIDTH = 8, 12
WEIGHTS = {"alpha": 2.0, "beta": 3.0, "gamma": 0.5, "lambda_": 0.7}
# One metre a cell. The small box lies in the large one and owns its cells.
BOXES = [[[2.5, 2.5, 0, 1.0, 1.0, 1, 0.0], [3.0, 3.0, 0, 4.0, 3.8, 1, 0.0]], []]


def scene(boxes=BOXES):
    frames = [torch.tensor(b).view(-1, 7) for b in boxes]
    return Batch(["0", "1"], torch.zeros(0, 5), frames, [])


def fgd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    pair = [{"neck": replace(s["neck"], cell=1.0)} for s in (student_specs, teacher_specs)]
    method = FocalGlobalDistillation(*pair, **options).double()
    for block in (method.student_context, method.teacher_context):
        torch.nn.init.normal_(block.transform[-1].weight)  # it starts as the identity
    return method


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def attention_loop(x, temperature=0.5):
    """Spatial (H, W) and channel (C,) attention of one frame (C, H, W)."""
    channels, height, width = x.shape
    spatial = np.array([[np.abs(x[:, i, j]).mean() for j in range(width)] for i in range(height)])
    channel = np.array([np.abs(x[c]).mean() for c in range(channels)])
    return (
        height * width * softmax(spatial / temperature),
        channels * softmax(channel / temperature),
    )


def owner(frame, row, column):
    """0 for the small box, 1 for the large one, -1 for none."""
    if frame == 1:
        return -1
    if (row, column) == (2, 2):
        return 0
    return 1 if 1 <= row <= 4 and 1 <= column <= 4 else -1


def focal_loop(f_s, f_t):
    """Foreground and background sums over all frames."""
    total = {True: 0.0, False: 0.0}
    for f in (0, 1):
        cells = [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]
        of = {cell: owner(f, *cell) for cell in cells}
        size = {o: list(of.values()).count(o) for o in (-1, 0, 1)}
        spatial, channel = attention_loop(f_t[f])
        for row, column in cells:
            error = (f_t[f, :, row, column] - f_s[f, :, row, column]) ** 2
            weighted = spatial[row, column] * (channel * error).sum() / size[of[row, column]]
            total[of[row, column] >= 0] += weighted
    return total[True], total[False]


def context_loop(block, x):
    p = {name: value.detach().numpy() for name, value in block.named_parameters()}
    flat = x.reshape(x.shape[0], -1)
    share = softmax(p["mask.weight"][0, :, 0, 0] @ flat)
    context = flat @ share
    hidden = p["transform.0.weight"] @ context + p["transform.0.bias"]
    hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-5)
    hidden = np.maximum(hidden * p["transform.1.weight"] + p["transform.1.bias"], 0)
    change = p["transform.3.weight"] @ hidden + p["transform.3.bias"]
    return x + change[:, None, None]


def test_equals_loops(student, teacher, student_specs, teacher_specs):
    method = fgd(student_specs, teacher_specs, **WEIGHTS)
    weight, bias = (p.detach().numpy() for p in method.adapter.parameters())
    f_t = teacher["neck"].numpy()
    f_s = np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], student["neck"].numpy())
    f_s = f_s + bias[:, None, None]
    in_boxes, elsewhere = focal_loop(f_s, f_t)
    unlike = relation = 0.0
    for s, t in zip(f_s, f_t, strict=True):
        pairs = zip(attention_loop(s), attention_loop(t), strict=True)
        unlike += sum(np.abs(a - b).sum() for a, b in pairs)
        contexts = context_loop(method.student_context, s), context_loop(method.teacher_context, t)
        relation += ((contexts[0] - contexts[1]) ** 2).sum()
    terms = method(student, teacher, scene())
    assert terms["foreground"].item() == pytest.approx(2.0 * in_boxes / 2)
    assert terms["background"].item() == pytest.approx(3.0 * elsewhere / 2)
    assert terms["attention"].item() == pytest.approx(0.5 * unlike / 2)
    assert terms["relation"].item() == pytest.approx(0.7 * relation / 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_boxes_weigh_the_same_whatever_their_size_and_order(student_specs, teacher_specs, order):
    boxes = [torch.tensor(BOXES[0])[list(order)]]
    in_box, scale = fgd(student_specs, teacher_specs)._regions(boxes, HEIGHT, WIDTH)
    assert in_box.sum() == 16
    assert scale[0, 2, 2] == 1  # the small box, though inside the large one
    assert scale[in_box].sum().item() == pytest.approx(2)
    assert scale[~in_box].sum().item() == pytest.approx(1)


def test_attention_of_an_even_map_is_one():
    spatial, channel = attention(torch.ones(2, 5, 3, 4), 0.5)
    torch.testing.assert_close(spatial, torch.ones(2, 3, 4))
    torch.testing.assert_close(channel, torch.ones(2, 5))


def test_attention_has_mean_one_and_sharpens_with_a_low_temperature(student):
    for temperature in (0.1, 0.5, 2.0):
        for x in attention(student["neck"], temperature):
            torch.testing.assert_close(x.flatten(1).mean(1), torch.ones(2, dtype=x.dtype))
    assert attention(student["neck"], 0.1)[0].max() > attention(student["neck"], 2.0)[0].max()


def test_a_context_block_starts_as_the_identity():
    x = torch.rand(2, 6, 3, 4)
    assert torch.equal(GlobalContext(6)(x), x)


def test_equal_maps_cost_nothing_once_adapters_are_shared(teacher, teacher_specs):
    method = fgd(teacher_specs, teacher_specs)
    assert all(term > 0 for term in method(teacher, teacher, scene()).values())
    method.share_adapters()
    assert sum(method(teacher, teacher, scene()).values()) == 0


def test_student_adapter_and_contexts_learn(student, teacher, student_specs, teacher_specs):
    method = fgd(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    sum(method(student, teacher, scene()).values()).backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in method.parameters())


def test_without_boxes_all_is_background(student, teacher, student_specs, teacher_specs):
    student["neck"].requires_grad_()
    terms = fgd(student_specs, teacher_specs)(student, teacher, scene([[], []]))
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert terms["foreground"] == 0
    assert terms["background"] > 0
    assert student["neck"].grad.isfinite().all()

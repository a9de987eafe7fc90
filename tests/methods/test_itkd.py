"""Interchange transfer against loops over cells and objects."""

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.methods.itkd import InterchangeTransfer, attend, centre_cells
from kdbench.taps import Kind, TapSpec

STUDENT, TEACHER = 3, 5
ORIGIN, CELL, HEIGHT, WIDTH = (-1.0, -2.0), 0.5, 4, 6


def specs(channels):
    return {"neck": TapSpec(Kind.BEV, channels, CELL, ORIGIN)}


def taps(channels, generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "neck": normal(2, channels, HEIGHT, WIDTH),
        "head.cls": normal(2, HEIGHT, WIDTH, 2, 3),
        "head.box": normal(2, HEIGHT, WIDTH, 2, 7),
    }


@pytest.fixture
def pair(generator):
    return taps(STUDENT, generator), taps(TEACHER, generator)


def scene(*frames):
    boxes = [torch.zeros(len(f), 7) for f in frames]
    for box, centres in zip(boxes, frames, strict=True):
        box[:, :2] = torch.tensor(centres).view(-1, 2)
    labels = [torch.zeros(len(f), dtype=torch.long) for f in frames]
    return Batch([str(i) for i in range(len(frames))], torch.zeros(0, 5), boxes, labels)


OFF = [(9.0, -1.0), (-9.0, -1.0), (0.0, 9.0), (0.0, -9.0)]
OBJECTS = scene([(-0.9, -1.9), (1.9, -0.1), (0.3, -1.2)], [(0.0, -1.0), *OFF])
CELLS = [(0, 0, 0), (0, 3, 5), (0, 1, 2), (1, 2, 2)]  # frame, row, column


def itkd(**options):
    torch.manual_seed(0)
    options = {"widths": [4, 2]} | options
    return InterchangeTransfer(specs(STUDENT), specs(TEACHER), **options).double()


def dense(layers, x):
    """Columns (C,) through 1x1 convolutions with a ReLU between two."""
    for i, layer in enumerate(layers):
        weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
        x = weight[:, :, 0, 0] @ x + bias
        x = np.maximum(x, 0) if i < len(layers) - 1 else x
    return x


def smooth_l1(a, b):
    x = np.abs(np.asarray(a) - np.asarray(b))
    return np.where(x < 1, x * x / 2, x - 0.5).mean()


def attention(x):
    rows = []
    for query in x:
        score = np.array([query @ key for key in x]) / np.sqrt(x.shape[1])
        share = np.exp(score - score.max())
        rows.append(share @ x / share.sum())
    return np.array(rows)


def loop(method, student, teacher, cells):
    encoder, decoder = (list(part)[::2] for part in (method.encoder, method.decoder))
    swapped, codes = [], {}
    for frame, row, column in np.ndindex(2, HEIGHT, WIDTH):
        s, t = (side["neck"].numpy()[frame, :, row, column] for side in (student, teacher))
        s = dense([method.widen.map], s)
        z = dense(encoder, s), dense(encoder, t)
        swapped.append(smooth_l1(dense(decoder, z[1]), s) + smooth_l1(dense(decoder, z[0]), t))
        codes[frame, row, column] = smooth_l1(*z)
    relation, objects = [], {}
    for at in cells:
        anchor = teacher["head.cls"][at].amax(-1).argmax()
        for side, found in (("s", student), ("t", teacher)):
            p = 1 / (1 + np.exp(-found["head.cls"][at][anchor].numpy()))
            objects.setdefault((at[0], side), []).append((p, found["head.box"][at][anchor]))
    for frame in sorted({at[0] for at in cells}):
        s, t = (
            [np.array([o[0] for o in x]), np.array([o[1] for o in x])]
            for x in (objects[frame, "s"], objects[frame, "t"])
        )
        s, t = ([*x, np.concatenate(x, axis=1)] for x in (s, t))
        pairs = zip(s, t, strict=True)
        relation.append(sum(smooth_l1(attention(a), attention(b)) for a, b in pairs))
    return {
        "interchange": np.mean(swapped),
        "compressed": np.mean([codes[at] for at in cells]),
        "relation": np.mean(relation),
    }


def test_equals_a_loop(pair):
    method = itkd()
    found = {name: x.item() for name, x in method(*pair, OBJECTS).items()}
    assert found == pytest.approx(loop(method, *pair, CELLS))


def test_weights_scale_their_terms(pair):
    plain = itkd()(*pair, OBJECTS)
    scaled = itkd(interchange=2.0, compressed=3.0, relation=0.0)(*pair, OBJECTS)
    for name, factor in (("interchange", 2), ("compressed", 3), ("relation", 0)):
        torch.testing.assert_close(scaled[name], factor * plain[name])


def test_centres_off_the_map_are_left_out():
    found = centre_cells(OBJECTS.boxes, specs(1)["neck"], HEIGHT, WIDTH)
    assert list(zip(*found.tolist(), strict=True)) == CELLS


def test_equal_heads_relate_alike(pair):
    terms = itkd()({**pair[1], "neck": pair[0]["neck"]}, pair[1], OBJECTS)
    assert terms["relation"] == 0
    assert terms["interchange"] > 0


def test_without_objects_only_the_interchange_is_left(pair):
    for tap in pair[0].values():
        tap.requires_grad_()
    terms = itkd()(*pair, scene([], []))
    sum(terms.values()).backward()
    assert terms["compressed"] == terms["relation"] == 0 < terms["interchange"]
    assert pair[0]["neck"].grad.any()


def test_student_and_autoencoder_learn(pair):
    method = itkd()
    for tap in pair[0].values():
        tap.requires_grad_()
    sum(method(*pair, OBJECTS).values()).backward()
    assert all(tap.grad.any() for tap in pair[0].values())
    assert all(p.grad is not None for p in method.parameters())


def test_gradient_of_attention_equals_finite_differences(generator):
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attend, x)

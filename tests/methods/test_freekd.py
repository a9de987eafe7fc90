"""Details where prompts say, against loops, and prompts that learn through a head."""

import pytest
import torch

from kdbench.methods.freekd import FreeKD, Prompts, likeness
from kdbench.ops.wavelets import haar
from kdbench.training.conformance import tiny_scene
from tests.methods.frozen import network

STUDENT, TEACHER = network(64), network(16)
SCENE = tiny_scene(TEACHER.point_range)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return FreeKD(STUDENT.taps, TEACHER.taps, detail=2.0, feature=3.0, response=5.0, prompts=3)


@pytest.fixture
def taps(generator):
    def shown(network):
        neck = torch.randn(2, network.taps["neck"].channels, 16, 16, generator=generator)
        return {"neck": neck, "head.box": torch.randn(2, 16, 16, 6, 7, generator=generator)}

    return shown(STUDENT), shown(TEACHER)


def test_equals_a_loop_over_kinds_and_prompts(method, taps):
    student, teacher = taps
    found = method(student, teacher, SCENE)
    adapted = method.adapter(student["neck"]).detach()
    own, wanted = haar(adapted, 3)[1], haar(teacher["neck"], 3)[1]
    expected = 0.0
    for kind in range(3):
        asked = method.prompts.vectors[kind + 1].detach()
        for vector in asked:
            mask = (wanted[kind].sum(0) * vector[None, :, None, None]).sum(1).sigmoid()
            gap = mask[:, None] * own[kind] - mask[:, None] * wanted[kind]
            expected += gap.abs().mean().item() / len(asked)
    assert found["detail"].item() == pytest.approx(2 * expected, rel=1e-4)
    mse = (adapted - teacher["neck"]).square().mean().item()
    assert found["feature"].item() == pytest.approx(3 * mse, rel=1e-5)
    assert found["response"] > 0


def test_masks_are_alike_by_their_dice_coefficient():
    masks = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    expected = []
    for frame in masks:
        for i in range(3):
            for j in range(3):
                if i != j:
                    a, b = frame[i].flatten(), frame[j].flatten()
                    expected.append(2 * (a @ b) / (a @ a + b @ b))
    assert likeness(masks).item() == pytest.approx(torch.stack(expected).mean().item())
    assert likeness(masks[:, :1].expand(-1, 3, -1, -1)).item() == pytest.approx(1)


def test_prompts_learn_through_the_teachers_head_and_stay_then(method, taps):
    optimizer = torch.optim.Adam(method.prompts.parameters(), lr=0.05)
    with torch.no_grad():
        seen = {"neck": TEACHER(TEACHER.prepare(SCENE))["neck"] + taps[1]["neck"]}
    totals = []
    for _ in range(20):
        loss = sum(method.stage_loss(TEACHER, seen, SCENE).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < totals[0] - 0.5
    method.zero_grad()
    sum(method(*taps, SCENE).values()).backward()
    assert method.prompts.vectors.grad is None
    assert method.adapter.map.weight.grad.abs().sum() > 0


def test_a_prompt_of_nothing_asks_for_half_of_everything():
    prompts = Prompts(2, 5)
    torch.nn.init.zeros_(prompts.vectors)
    assert (prompts(1, torch.randn(2, 5, 3, 4)) == 0.5).all()

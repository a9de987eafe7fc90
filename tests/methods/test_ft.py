"""Factor transfer: its two losses, and who learns from which."""

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.ft import FactorTransfer, normalised


def ft(student_specs, teacher_specs, stage_steps=0, **options):
    torch.manual_seed(0)
    made = FactorTransfer(student_specs, teacher_specs, stage_steps=stage_steps, **options)
    return made.double()


@pytest.fixture
def method(student_specs, teacher_specs):
    return ft(student_specs, teacher_specs)


def learned(parts):
    """Whether each parameter of some parts has a gradient other than 0."""
    return [p.grad is not None and bool(p.grad.any()) for x in parts for p in x.parameters()]


def test_equals_a_loop(student, teacher, batch, method):
    with torch.no_grad():
        f_s = method.translator(student["backbone.2"]).numpy()
        f_t = method.encoder(teacher["backbone.2"])
        restored = method.decoder(f_t).numpy()
    f_t, original = f_t.numpy(), teacher["backbone.2"].numpy()
    gaps = []
    for s, t in zip(f_s, f_t, strict=True):
        s, t = (x / np.sqrt(sum(v**2 for v in x.ravel())) for x in (s, t))
        gaps += [abs(a - b) for a, b in zip(s.ravel(), t.ravel(), strict=True)]
    terms = method(student, teacher, batch)
    assert terms["transfer"].item() == pytest.approx(200 * np.mean(gaps))
    assert terms["paraphrase"].item() == pytest.approx(np.mean((restored - original) ** 2))


@pytest.mark.parametrize("rate, factors", [(0.5, 10), (0.1, 2), (0.001, 1)])
def test_rate_sets_the_number_of_factors(
    student, teacher, student_specs, teacher_specs, rate, factors
):
    method = ft(student_specs, teacher_specs, rate=rate)  # the teacher's map has 20 channels
    assert method.encoder(teacher["backbone.2"]).shape == (2, factors, 2, 3)
    assert method.translator(student["backbone.2"]).shape == (2, factors, 2, 3)
    assert method.decoder(method.encoder(teacher["backbone.2"])).shape == (2, 20, 2, 3)


def test_student_and_translator_learn_from_the_transfer_alone(student, teacher, batch, method):
    student["backbone.2"].requires_grad_()
    method(student, teacher, batch)["transfer"].backward()
    assert student["backbone.2"].grad.any()
    assert all(learned([method.translator]))
    assert not any(learned([method.encoder, method.decoder]))


def test_the_paraphraser_learns_from_the_paraphrase_alone(student, teacher, batch, method):
    student["backbone.2"].requires_grad_()
    method(student, teacher, batch)["paraphrase"].backward()
    assert student["backbone.2"].grad is None
    assert not any(learned([method.translator]))
    assert all(learned([method.encoder, method.decoder]))


def test_the_paraphraser_can_learn(student, teacher, batch, method):
    teacher["backbone.2"] = teacher["backbone.2"].relu()  # the leaky units pass what is positive
    optimizer = torch.optim.Adam(method.parameters(), 0.02)
    losses = []
    for _ in range(60):
        losses.append(method(student, teacher, batch)["paraphrase"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 3


def test_the_size_of_factors_does_not_matter(teacher):
    x = teacher["neck"]
    torch.testing.assert_close(normalised(5 * x), normalised(x))
    torch.testing.assert_close(normalised(x).norm(dim=1), torch.ones(2, dtype=x.dtype))


def test_another_map_can_be_named(student_specs, teacher_specs):
    assert ft(student_specs, teacher_specs, tap="neck").tap == "neck"
    with pytest.raises(UsageError, match="tap.*neck"):
        ft(student_specs, teacher_specs, tap="head.box")


def test_after_a_stage_of_its_own_the_paraphraser_is_a_constant(
    student, teacher, batch, student_specs, teacher_specs, method
):
    staged = ft(student_specs, teacher_specs, stage_steps=5)
    found = staged(student, teacher, batch)
    assert found.keys() == {"transfer"}
    assert found["transfer"] == method(student, teacher, batch)["transfer"]
    found["transfer"].backward()
    assert not any(learned(staged.stage_modules())) and all(learned([staged.translator]))
    staged.stage_loss(None, teacher, batch)["paraphrase"].backward()
    assert all(learned(staged.stage_modules()))

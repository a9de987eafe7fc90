"""Which precision a device can train in."""

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measure import device
from kdbench.measure.device import check_precision


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_every_device_has_float32(place):
    check_precision("float32", place)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_gpu_has_both_halves(precision):
    check_precision(precision, "cuda")


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(UsageError, match="float16 needs CUDA"):
        check_precision("float16", "cpu")


@pytest.mark.parametrize("flags", [{"avx512_bf16": True}, {"amx_bf16": True}])
def test_a_processor_that_computes_with_bfloat16_may(monkeypatch, flags):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    check_precision("bfloat16", "cpu")


@pytest.mark.parametrize("flags", [{}, {"avx512_bf16": False, "avx512_f": True}])
def test_one_that_could_only_emulate_it_is_refused_in_one_line(monkeypatch, flags):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    with pytest.raises(UsageError, match="neither avx512_bf16 nor amx_bf16") as error:
        check_precision("bfloat16", "cpu")
    assert "\n" not in str(error.value)
    assert not device.cpu_has_bfloat16()

"""The device a user asks for."""

import torch

from kdbench.errors import UsageError

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # flags of processors that compute with it


def check_precision(precision: str, device: str) -> None:
    """Raises UsageError when a device (cpu or cuda) cannot train in float32, bfloat16 or float16.

    What it could only emulate, more slowly than float32, counts as cannot.
    """
    if precision == "float16" and device != "cuda":
        raise UsageError("precision float16 needs CUDA; on a CPU there is bfloat16, and float32")
    if precision == "bfloat16" and device == "cpu" and not cpu_has_bfloat16():
        raise UsageError(
            "precision bfloat16: this processor does not compute with it (it has neither "
            f"{' nor '.join(CPU_BFLOAT16)}); float32 is faster here"
        )


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in CPU_BFLOAT16)


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:<index>` as a device; `auto` is CUDA where there is one.

    Raises UsageError for another name and for a device that torch does not see.
    """
    if not isinstance(name, str):
        raise UsageError(f"device: {name!r} is not a name such as cpu, cuda or auto")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if seen else "cpu")
    kind, _, index = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (index.isdecimal() or name == "cuda")):
        raise UsageError(f"unknown device {name!r} (there is: auto, cpu, cuda, cuda:<index>)")
    if kind == "cuda" and seen == 0:
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is CPU-only"
        raise UsageError(
            f"CUDA asked for but torch sees no CUDA device (torch {torch.__version__} {built})"
        )
    if index and int(index) >= seen:
        raise UsageError(f"device {name!r} asked for but torch sees {seen} CUDA device(s)")
    return torch.device(name)

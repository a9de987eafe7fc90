"""The device a user asks for."""

import torch

from kdbench.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:<index>` as a device; `auto` is CUDA where there is one.

    Raises UsageError for another name and for a device that torch does not see.
    """
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

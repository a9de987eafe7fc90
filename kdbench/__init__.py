"""kdbench: the benchmark of knowledge distillation for LiDAR 3D object detection.

`docs/python.md` describes what is public here; the rest may change with any version. PyTorch,
pandas and numba are imported when the first of these names is used, not before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.interface import (
        KdbenchError,
        Model,
        Prediction,
        evaluate,
        list_methods,
        list_models,
        load_model,
        read_leaderboard,
        run,
    )

__version__ = "0.2.0"
__all__ = [
    "KdbenchError",
    "Model",
    "Prediction",
    "evaluate",
    "list_methods",
    "list_models",
    "load_model",
    "read_leaderboard",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    return getattr(import_module("kdbench.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

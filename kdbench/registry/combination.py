"""Several methods at once, by name: `kd+pointdistiller` adds the losses of both.

An option of a combination is a part's name, its value a table of that part's options and of its
own factor: `--set method.kd.temperature=2`, `--set method.kd.scale=0.5`. The factor
`method.scale` is on all of them together. What adds to what is a question that users ask.
"""

import inspect
from collections.abc import Sequence
from functools import partial

from torch import nn

from kdbench.errors import UsageError
from kdbench.method import Method

SIGN = "+"
_HOOKS = {"relabel": "changes the labels", "prepare_student": "sets the student's first weights"}


class Combination(Method):
    """The parts' losses, each times its own factor. Made by `combination`."""

    parts: tuple[type[Method], ...] = ()

    def __init__(self, student, teacher, **options):
        super().__init__(student, teacher)
        self.scales, self.methods = {}, nn.ModuleDict()
        for part in self.parts:
            given = part.neutral | options.get(option_of(part), {})
            self.scales[part.name] = given.pop("scale", 1.0)
            self.methods[option_of(part)] = part(student, teacher, **given)

    def forward(self, student, teacher, batch):
        terms = {}
        self.logs.clear()
        for part, method in zip(self.parts, self.methods.values(), strict=True):
            scale = self.scales[part.name]
            for name, term in method(student, teacher, batch).items():
                terms[f"{part.name}.{name}"] = scale * term
            self.logs |= {f"{part.name}.{name}": value for name, value in method.logs.items()}
        return terms

    def share_adapters(self):
        for method in self.methods.values():
            method.share_adapters()

    def prepare_student(self, student, teacher):
        for method in self.methods.values():
            method.prepare_student(student, teacher)

    def relabel(self, batch, teacher, taps):
        for method in self.methods.values():
            batch = method.relabel(batch, teacher, taps)
        return batch

    def after_step(self, student, teacher, step, steps):
        for method in self.methods.values():
            method.after_step(student, teacher, step, steps)


def combination(parts: Sequence[type[Method]]) -> type[Method]:
    """The class of several methods together, in alphabetical order of their names.

    Raises UsageError for parts that cannot be together.
    """
    parts = tuple(sorted(parts, key=lambda part: part.name))
    name = SIGN.join(part.name for part in parts)
    _check(name, parts)
    options = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    keyword = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default={})
    options += [keyword(option_of(part)) for part in parts]
    members = {
        "__init__": _with_signature(inspect.Signature(options)),
        "__doc__": f"{' and '.join(part.name for part in parts)} together.",
        "name": name,
        "parts": parts,
        "needs": tuple(dict.fromkeys(need for part in parts for need in part.needs)),
        "same_detector": any(part.same_detector for part in parts),
        "zero_when_equal": all(part.zero_when_equal for part in parts),
    }
    return type("Combination", (Combination,), members)


def option_of(part: type[Method]) -> str:
    """The name of the option that holds a part's options."""
    return part.name.replace("-", "_")


def _with_signature(signature: inspect.Signature):
    """The constructor, which says what its options are called."""

    def __init__(self, student, teacher, **options):
        Combination.__init__(self, student, teacher, **options)

    __init__.__signature__ = signature
    return __init__


def _check(name: str, parts: Sequence[type[Method]]) -> None:
    if len({part.name for part in parts}) < len(parts):
        raise UsageError(f"method {name!r}: a method stands in it twice")
    for part in parts:
        if part.teacher != "trained" or part.wraps:
            raise UsageError(
                f"method {name!r}: {part.name} has no trained teacher of its own; only methods "
                "that learn from one can be combined"
            )
    for hook, what in _HOOKS.items():
        users = [p.name for p in parts if getattr(p, hook) is not getattr(Method, hook)]
        if len(users) > 1:
            raise UsageError(f"method {name!r}: each of {' and '.join(users)} {what}; one may")

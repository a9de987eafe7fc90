"""A method inside another: the base of controls, which change what a method learns from."""

from kdbench.errors import UsageError
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.taps import missing


class Wrapped(Method):
    """Hands everything on to `method`, built with `options` over its own defaults."""

    wraps = True

    def __init__(self, student, teacher, *, method="fitnet", options={}):  # noqa: B006
        super().__init__(student, teacher)
        kind = methods.get(method)
        if kind.teacher != "trained":
            raise UsageError(f"option method: {method!r} does not learn from a trained teacher")
        if absent := missing(kind.needs, student):
            raise UsageError(f"option method: {method!r} needs {', '.join(absent)}")
        self.method = kind(student, teacher, **kind.neutral | options)
        self.logs = self.method.logs

    def forward(self, student, teacher, batch):
        return self.method(student, teacher, batch)

    def share_adapters(self):
        self.method.share_adapters()

    def prepare_student(self, student, teacher):
        self.method.prepare_student(student, teacher)

    def relabel(self, batch, teacher, taps):
        return self.method.relabel(batch, teacher, taps)

    def after_step(self, student, teacher, step, steps):
        self.method.after_step(student, teacher, step, steps)

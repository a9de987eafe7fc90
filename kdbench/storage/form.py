"""Whether plain values, read from a file, have the form that their reader relies on.

A form is a type, NUMBER, a list of one form, a dictionary of forms by key, or one of the classes
here.
"""

import math
from dataclasses import dataclass
from typing import Any

MOST = 2**63  # of a whole number: what arrays can hold


class NUMBER:
    """Whole or not, finite."""


@dataclass(frozen=True)
class Each:
    """A dictionary of any keys, its values of one form."""

    form: Any


@dataclass(frozen=True)
class OrNone:
    """A value that may be None."""

    form: Any


@dataclass(frozen=True)
class Maybe(OrNone):
    """A value of a dictionary that may be None or absent."""


def misfit(value: Any, form: Any, name: str = "") -> str | None:
    """What of a value is not of a form, such as `latency.p50 is no number`; None when all is."""
    if isinstance(form, OrNone):
        return None if value is None else misfit(value, form.form, name)
    if isinstance(form, Each):
        form = dict.fromkeys(value, form.form) if isinstance(value, dict) else {}
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return f"{name or 'it'} is no dictionary"
        start = f"{name}." if name else ""
        if absent := [k for k, f in form.items() if k not in value and not isinstance(f, Maybe)]:
            return f"{start}{absent[0]} is absent"
        parts = ((value.get(key), part, f"{start}{key}") for key, part in form.items())
    elif isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is no list"
        parts = ((item, form[0], f"{name}[{i}]") for i, item in enumerate(value))
    else:
        return _misfit_alone(value, form, name)
    return next((found for part in parts if (found := misfit(*part))), None)


def _misfit_alone(value: Any, form: type, name: str) -> str | None:
    if form is not NUMBER:
        good = type(value) is form and (form is not int or abs(value) < MOST)
        return None if good else f"{name} is no {form.__name__}"
    whole = type(value) is int and abs(value) < MOST
    good = whole or (type(value) is float and math.isfinite(value))
    return None if good else f"{name} is no number"

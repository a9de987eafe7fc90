"""Options of plugins: the keyword-only arguments that a plugin's `__init__` takes.

An option that comes after results were published has an entry in the plugin's `neutral`: the
value at which the plugin is what it was before. At that value it stays out of specs (`lean`) and so
out of their hashes, and a spec without it means that value (`stored`), whatever the default is.
"""

import inspect
import math
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry.suggest import unknown


def defaults_of(plugin: type) -> dict[str, Any]:
    """Option names of a plugin class with their defaults."""
    return {p.name: _plain(p.default) for p in _options_of(plugin) if p.default is not p.empty}


def required_of(plugin: type) -> list[str]:
    """Names of options without a default, which the contract does not allow."""
    return [p.name for p in _options_of(plugin) if p.default is p.empty]


def _options_of(plugin: type) -> list[inspect.Parameter]:
    parameters = inspect.signature(plugin.__init__).parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def complete(
    what: str, plugin: type, options: dict[str, Any], common: dict[str, Any] | None = None
) -> dict[str, Any]:
    """`options` over the plugin's defaults, as plain values.

    `common` are options with their defaults that the harness gives every plugin. `what` names the
    plugin in messages ("method 'kd'"). An unknown name, a value of another type than the
    default's or outside its limits, or a variant the plugin does not have raises UsageError.
    """
    merged = defaults_of(plugin)
    if taken := set(merged) & set(common or {}):
        raise UsageError(f"{what}: {', '.join(taken)} is the harness's own option, rename it")
    merged |= common or {}
    known = set(merged)
    for name, value in options.items():
        if name not in known:
            raise UsageError(unknown(f"option of {what}", name, known))
        merged[name] = _counted(f"{what}: option {name}", value, merged[name])
    variants = getattr(plugin, "variants", ())
    if variants and merged["variant"] not in variants:
        raise UsageError(unknown(f"variant of {what}", merged["variant"], variants))
    for name, limits in getattr(plugin, "limits", {}).items():
        _check_limits(f"{what}: option {name}", merged.get(name), *limits)
    return merged


def _check_limits(where: str, value: Any, low: float, high: float) -> None:
    """Raises UsageError for a number, or one in a list, that is not between two others."""
    numbers = value if isinstance(value, list) else [value]
    outside = [x for x in numbers if isinstance(x, (int, float)) and not low <= x <= high]
    if outside:
        limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise UsageError(f"{where} must be {limits}, not {outside[0]}")


def lean(plugin: type, options: dict[str, Any]) -> dict[str, Any]:
    """`options` without later ones at their neutral value, as a spec holds them."""
    neutral = neutral_of(plugin)
    return {k: v for k, v in options.items() if k not in neutral or v != neutral[k]}


def stored(what: str, plugin: type, options: dict[str, Any]) -> dict[str, Any]:
    """All options of a plugin, from those that a spec holds; see `complete`."""
    return complete(what, plugin, neutral_of(plugin) | options)


def neutral_of(plugin: type) -> dict[str, Any]:
    """Later options of a plugin with their neutral values, without those that it does not take.

    A class derived from a plugin has its `neutral`, but may have fewer options.
    """
    taken = defaults_of(plugin)
    return {name: _plain(value) for name, value in plugin.neutral.items() if name in taken}


def _counted(where: str, value: Any, default: Any) -> Any:
    """`coerce`; whole numbers count something, so none is below 0 unless its default is."""
    value = coerce(where, value, default)
    numbers, defaults = (x if isinstance(x, list) else [x] for x in (value, default))
    below = [x for x in numbers if type(x) is int and x < 0]
    if below and all(type(x) is int and x >= 0 for x in defaults):
        raise UsageError(f"{where} must be 0 or more, not {below[0]}")
    return value


def coerce(where: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`, where that loses nothing; else UsageError.

    A default of None takes any value; items of a list are of the type of the default's first.
    `1e-3`, which YAML reads as text, counts as a number.
    """
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        return [coerce(where, item, default[0] if default else None) for item in value]
    if isinstance(default, float) and not isinstance(value, bool):
        value = _as_float(value)
    if default is None or type(value) is type(default):
        _check_plain(where, value)
        return _plain(value)
    raise UsageError(f"{where}: {value!r} is not of type {type(default).__name__}")


def _as_float(value: Any) -> Any:
    """The value as a number where it is one."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _check_plain(where: str, value: Any) -> None:
    """Raises UsageError for a value that JSON cannot hold, on its own or in lists and mappings."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where} must be a finite number, not {value}")
    if isinstance(value, dict):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise UsageError(f"{where}: {strange[0]!r} is not a name")
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(where, item)
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise UsageError(f"{where}: {value!r} is not a plain value")


def _plain(value: Any) -> Any:
    """Tuples as lists, so that values are the same after a trip through JSON."""
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value

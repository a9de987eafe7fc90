"""What a class must keep to before it is registered, whatever it computes.

Its name, and those of its variants, stand in paths and tables, on every system that a folder of
results may be copied to. Its options stand in records, all of them, so each has a default.
"""

import json
import re

from kdbench.errors import UsageError
from kdbench.registry.options import defaults_of, required_of

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
RULE = (
    "a name goes into paths: letters, digits, `-`, `_` and `.` alone, at most 64, neither `-` nor "
    "`.` first and no `.` last"
)
# Files that Windows cannot have, with whatever ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_RESERVED = ("all",)  # means every one on the command line


def check_plugin(what: str, plugin: type, where: object) -> None:
    """Raises UsageError that names the plugin, its file or package `where`, and the rule."""
    name = getattr(plugin, "name", None)
    check_own_name(what, name, where)
    for variant in getattr(plugin, "variants", ()):
        check_name(f"{what} {name!r}: variant", variant, where)
    for option in required_of(plugin):
        raise UsageError(
            f"{what} {name!r} ({where}): option {option!r} has no default; give it one: a run that "
            "does not set it must be known by its record too"
        )
    for option, default in defaults_of(plugin).items():
        if not _is_plain(default):
            raise UsageError(
                f"{what} {name!r} ({where}): the default of option {option!r} is {default!r}; it "
                "must be plain, as a record can hold it: a number, text, None, a list of such"
            )


def check_own_name(what: str, name: object, where: object) -> None:
    """Raises UsageError for what no plugin may be called."""
    check_name(what, name, where)
    if name.lower() in _RESERVED:
        raise UsageError(f"{what} {name!r} ({where}): a reserved name, take another")


def check_name(what: str, name: object, where: object) -> None:
    """Raises UsageError for what is no plain name."""
    plain = isinstance(name, str) and PLAIN.fullmatch(name) and not name.endswith(".")
    if not plain:
        raise UsageError(f"{what} {name!r} ({where}): {RULE}")
    if _DEVICES.fullmatch(name):
        raise UsageError(f"{what} {name!r} ({where}): Windows has no file of that name")


def _is_plain(value: object) -> bool:
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False

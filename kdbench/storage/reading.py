"""Reading what people write: YAML and JSON in UTF-8, of plain values, nothing in it lost.

A parser's defaults lose things without a word: of a key that is given twice the first, and with
dates and sets what a record cannot hold.
"""

import json
import math
from pathlib import Path
from typing import Any

import yaml

from kdbench.errors import UsageError

_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")  # tags that JSON has too
_DATE = "tag:yaml.org,2002:timestamp"


class _PlainLoader(yaml.SafeLoader):
    """YAML as JSON could hold it, keys once in a mapping; a date stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in found if tag != _DATE]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _PLAIN
    }

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _refused(f"{key.value!r} is given twice", key)
            seen.add(key.value)
        return node

    def compose_node(self, parent, index):
        node = super().compose_node(parent, index)
        if node.end_mark is None:  # an alias of what is not at its end yet
            raise _refused("a value that contains itself", node)
        return node


def _refused(problem: str, node) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, problem, node.start_mark)


def parse_yaml(text: str, where: Path | str) -> Any:
    """The value of a text in YAML. Raises UsageError that says `where` and why it is none."""
    try:
        return yaml.load(text, _PlainLoader)  # a SafeLoader that knows less
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        reason = f"{line}{error.problem or error.context}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
    raise UsageError(f"{where}: not valid YAML ({reason})")


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises UsageError that names the file and, in it, the line."""
    values = parse_yaml(read_utf8(path), path)
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected `key: value` lines")
    return values


def read_json(path: Path) -> Any:
    """The value in a JSON file, infinity and NaN not among them. Raises UsageError."""
    try:
        return json.loads(
            read_utf8(path), parse_constant=_constant, parse_float=_finite, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error})") from None


def read_utf8(path: Path) -> str:
    """The text of a file. Raises UsageError when it cannot be read or is in another encoding."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} is {error.object[error.start]:#x}"
        raise UsageError(f"{path}: not in UTF-8 ({reason}); save it in that encoding") from None


def _constant(name: str):
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found

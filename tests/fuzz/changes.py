"""Random changes to bytes, to texts of words and numbers, and to trees of plain values."""

import math
import re
from typing import Any

WORDS = (
    "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e999", "0", "-0", "-1", "0.5", "7", "1e",
    "1_0", "٣", "0x10", "9" * 25, "1,5", "abc", "Car", "DontCare", "null", "~", "true", "[", "{",
    "]", ":", "-", "&a", "*a", "!!set", "1:30", "010", "\ufeff", "\0", "\u2028", "../..", "x" * 300,
)  # fmt: skip
VALUES = (
    None, True, False, -1, 0, 1, 3, 0.5, -0.0, 1e308, 10**400, math.nan, math.inf, "", "x", "0.5",
    "nan", [], {}, [[]], {"x": 1}, [None],
)  # fmt: skip


def changed_bytes(data: bytes, rng) -> bytes:
    """The data with one to four random changes."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        start, end = sorted(rng.integers(0, len(found) + 1, 2).tolist())
        end = min(end, start + int(2 ** rng.uniform(0, 8)))
        match rng.integers(7):
            case 0:
                found[start:end] = b""
            case 1:
                found[end:end] = found[start:end]
            case 2:
                found[start:end] = bytes(end - start)
            case 3:
                found[start:start] = rng.bytes(int(rng.integers(1, 9)))
            case 4:
                del found[start:]
            case _ if found:
                found[min(start, len(found) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(found)


def changed_text(text: str, rng) -> bytes:
    """The text with one to three words or lines changed; now and then its bytes."""
    if rng.random() < 0.15:
        return changed_bytes(text.encode(), rng)
    for _ in range(rng.integers(1, 4)):
        text = (_changed_word if rng.random() < 0.75 else _changed_line)(text, rng)
    return text.encode("utf-8")


def _changed_word(text: str, rng) -> str:
    words = list(re.finditer(r"[^\s:,\[\]{}]+", text))
    if not words:
        return pick(WORDS, rng)
    word = pick(words, rng)
    new = {0: "", 1: word[0] * 2, 2: word[0][:-1], 3: _digit(word[0], rng)}.get(
        int(rng.integers(8)), pick(WORDS, rng)
    )
    return text[: word.start()] + new + text[word.end() :]


def _digit(word: str, rng) -> str:
    return re.sub(r"\d", lambda _: str(rng.integers(10)), word, count=int(rng.integers(1, 4)))


def _changed_line(text: str, rng) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at, other = rng.integers(0, len(lines), 2)
    match rng.integers(5):
        case 0:
            lines[at] = ""
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at] = lines[at].rstrip("\n")
        case 3:
            lines[at] = lines[at].replace("\n", pick(("\r\n", "\r", "\x0b", "\n\n", " \t\n"), rng))
        case 4:
            lines[at] = lines[at][: int(rng.integers(0, len(lines[at]) + 1))]
    return "".join(lines)


def change_tree(tree: Any, rng, times: int = 1) -> None:
    """Puts other values into nested dictionaries and lists, or takes or adds some."""
    for _ in range(times):
        places = list(_places(tree))
        if not places:
            return
        parent, key = pick(places, rng)
        match rng.integers(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[pick(("x", "name", "bev", "steps"), rng)] = parent[key]
            case 1 | 2 if isinstance(parent[key], (int, float)):
                parent[key] *= pick((-1, 0, 0.5, 2, 1e6), rng)
            case _:
                parent[key] = pick(VALUES, rng)


def _places(tree: Any):
    """Parent and key of every value, but of long lists of one kind only a few."""
    pairs = tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:12]
    for key, value in pairs:
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def pick(values, rng):
    """One of the values."""
    return values[int(rng.integers(len(values)))]

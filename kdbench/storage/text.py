"""Text files as the world writes them."""

import math
import re
from pathlib import Path

from kdbench.errors import DataError

_MARK = "\ufeff"  # the byte order mark that Windows editors put first, and `cat` then in the middle

MOST = 2.0**53
_STRANGE = re.compile(r"_|[^\x00-\x7f]")  # what Python takes in a number, and other readers do not


def number(written: str) -> float:
    """A number of up to 2^53 in decimal digits. Raises ValueError that says what is none.

    `1_0` and digits of other scripts are none: read as far as other programs read them, they are
    other numbers. Greater ones are no pixels and no metres, and overflow when they are multiplied.
    """
    if _STRANGE.search(written):
        raise ValueError(f"could not convert string to float: {written!r}")
    value = float(written)
    if not math.isfinite(value):
        raise ValueError("a value is not finite")
    if abs(value) > MOST:
        raise ValueError(f"{written} is too large")
    return value


def read_text(path: Path | str, what: str) -> str:
    """The text of a UTF-8 file without byte order marks; `what` it is stands in messages.

    Raises DataError that names the file when it is absent, cannot be read or is no UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what}") from None
    except UnicodeDecodeError as error:
        raise _no_text(path, what, f"{error.reason} at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a {what} ({error.strerror})") from None
    if "\0" in text:  # UTF-16 without a mark is valid UTF-8, with a zero byte beside each letter
        raise _no_text(path, what, "it holds zero bytes")
    return text.replace(_MARK, "")


def _no_text(path: Path | str, what: str, reason: str) -> DataError:
    reason = f"no UTF-8 text: {reason}"
    return DataError(f"{path}: cannot be read as a {what} ({reason}); save it as UTF-8")

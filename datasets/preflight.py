"""Whether a tree gives anything to train and to judge on, before a step is spent on it.

A verdict holds for the contents of the files: it is kept by the tree's fingerprint, so that a tree
is looked at once. Only the good one is kept, for a bad tree is mended and then is another.
"""

from collections.abc import Callable
from pathlib import Path

from kdbench.datasets.progress import Show, progress_bar
from kdbench.errors import DataError
from kdbench.storage.files import write_text

SAMPLED = 20  # frames of a split whose cloud and calibration are read
VERSION = 1  # of the rules: raise it when they find more


def check_once(
    cache_dir: Path | None, key: str, problems: Callable[[Show], list[str]], advice: str
) -> None:
    """Raises DataError with the first of the `problems`; looks for none where `key` was good.

    `key` says what is looked at, in characters of a file's name. Without a folder nothing is kept.
    """
    good = None if cache_dir is None else cache_dir / "preflight" / f"v{VERSION}-{key}"
    if good is not None and good.exists():
        return
    with progress_bar("checking frames") as show:
        found = problems(show)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}; {advice}")
    if good is not None:
        write_text(good, "")

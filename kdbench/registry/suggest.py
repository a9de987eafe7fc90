"""Messages for unknown names: what is near, and what there is."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """One line that says `name` is unknown, with the nearest known name when one is near."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {str(name)!r}{hint} (there is: {', '.join(known) or 'none'})"

"""Writes a page for each method into `docs/method/` before Sphinx reads the folder."""

from pathlib import Path

import method_text
from sphinx.application import Sphinx

from kdbench.leaderboard.reading import needed
from kdbench.leaderboard.rows import leaderboard
from kdbench.registry import methods
from kdbench.runs import published
from kdbench.runs.applicability import detectors_for, taps_by_detector


def write_pages(app: Sphinx) -> None:
    """One page a method, and `overview.txt`, the table of all."""
    source = Path(app.srcdir)
    rows = leaderboard([needed(record) for record in published.records()])
    taps = taps_by_detector()
    known = [(methods.get(name), detectors_for(name, taps)) for name in methods.names()]
    folder = source / "method"
    folder.mkdir(exist_ok=True)
    for method, detectors in known:
        text = method_text.page(method, detectors, rows, source / "methods")
        write_changed(folder / f"{method.name}.md", text)
    write_changed(folder / "overview.txt", method_text.overview(known))


def write_changed(path: Path, text: str) -> None:
    """Sphinx reads again what is newer than what it built."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

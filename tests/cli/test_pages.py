"""Commands on the pages: kdbench takes each of them, and those of blocks marked as such run.

Before a block a comment may stand: `<!-- run -->`, its commands are run in a folder of the page's
own, in profile `tiny`; `<!-- file: NAME -->`, it is a file of that folder.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from kdbench.cli import COMMANDS, group
from kdbench.cli.run import DEFAULTS, spec_from
from kdbench.registry import datasets, detectors, methods
from kdbench.runs.settings import parse_overrides

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("", "sh", "yaml")  # languages of blocks that hold command lines
OPERATORS = ("&&", "||", "|", ";")
REGISTRIES = {"method": methods, "detector": detectors, "dataset": datasets}

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Mark, language and text of each block of code."""
    mark = ""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in ("fence", "code_block"):
            yield mark, token.info, token.content
        comment = token.type == "html_block" and re.fullmatch(r"<!-- (.*) -->\s*", token.content)
        mark = comment.group(1) if comment else ""


def commands(text: str) -> Iterator[list[str]]:
    """What follows `kdbench` on the lines of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if "kdbench " in line else []
        starts = [i + 1 for i, word in enumerate(words) if Path(word).name == "kdbench"]
        for start in starts:
            rest = words[start:]
            yield rest[: next((i for i, w in enumerate(rest) if w in OPERATORS), len(rest))]


def in_text(page: Path) -> Iterator[list[str]]:
    """The commands between backticks, which may be less than whole."""
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        for part in token.children or []:
            if part.type == "code_inline" and part.content.startswith("kdbench "):
                yield shlex.split(part.content)[1:]


def parsed(words: list[str]) -> click.Context:
    """The context of a command line. Raises what click does for one that it does not take."""
    command, name, words = group, "kdbench", list(words)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command, f"no command {name}"
    return command.make_context(name, words)


def check_names(context: click.Context) -> None:
    """Raises UsageError for a method, detector, data set or setting that there is none of."""
    given = context.params
    if given.get("plugins"):
        return
    for what, registry in REGISTRIES.items():
        for name in (given.get(what) or given.get(f"{what}s") or "").split(","):
            if name not in ("", "all"):
                registry.get(name)
    if context.command.name == "run" and not given["spec_file"]:
        named = {k: given[k] for k in DEFAULTS if given[k] is not None and k != "device"}
        spec_from(named | parse_overrides(given["assignments"]))


def test_every_command_is_one_that_there_is(page, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: value)  # no file is there
    for _, language, text in blocks(page):
        for words in commands(text) if language in SHELL else ():
            check_names(parsed(words))
    for words in in_text(page):
        try:
            parsed(words)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            continue


@pytest.mark.slow
def test_marked_blocks_run(page, kdbench, tmp_path, monkeypatch):
    for mark, _, text in blocks(page):
        if mark.startswith("file: "):
            (tmp_path / mark.removeprefix("file: ")).write_text(text)
        for words in commands(text) if mark == "run" else ():
            if "profile" in parsed(words).params and "--profile" not in words:
                words += ["--profile", "tiny"]
            with monkeypatch.context() as patch:  # a plugin is loaded once a process
                for registry in REGISTRIES.values():
                    patch.setattr(registry, "_found", dict(registry._found))
                code, _, err = kdbench(*words)
            assert code == 0, f"kdbench {shlex.join(words)}: {err}"


def test_the_pages_are_whole(page):
    """What there is a list of on a page is all there."""
    text = page.read_text()
    listed = {"commands.md": COMMANDS, "detectors.md": detectors.names(), "methods.md": ()}
    for name in listed.get(page.name, ()):
        assert re.search(rf"`(kdbench )?{name}\b", text), f"{name} is not on {page.name}"
    if page.name == "README.md":
        assert len(text.splitlines()) <= 115

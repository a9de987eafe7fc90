"""`kdbench new`: a plugin package to start from, which passes `kdbench check` as it is.

Templates are in `kdbench/templates`: `common`, and a folder for each kind. `$word` in them is
filled in.
"""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from kdbench import __version__
from kdbench.cli.output import console
from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.storage.files import write_text

REGISTRIES = {registry.what: registry for registry in (methods, detectors, datasets)}
TEMPLATES = files("kdbench") / "templates"


@click.command()
@click.argument("kind", type=click.Choice(list(REGISTRIES)))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write a package with a plugin, its test and a CI workflow into the folder NAME."""
    REGISTRIES[kind].check_free(name, "kdbench new")
    folder = Path(name)
    if folder.exists():
        raise UsageError(f"{folder}: is there already; take another name, or move it away")
    words = _words(kind, name)
    for place, source in _layout(kind, words["module"]).items():
        text = (TEMPLATES / source).read_text(encoding="utf-8")
        write_text(folder / place, Template(text).substitute(words))
        console.print(f"wrote {folder / place}", soft_wrap=True, markup=False)
    plugin = folder / f"{words['module']}.py"
    console.print(f"\nnext: kdbench check --kind {kind} {name} --plugin {plugin}", soft_wrap=True)
    console.print(f"      cd {name} && python -m pytest", soft_wrap=True)


def _words(kind: str, name: str) -> dict[str, str]:
    """What `$word` means in the templates."""
    parts = re.findall("[a-z0-9]+", name.lower()) or ["plugin"]
    return {
        "kind": kind,
        "name": name,
        "package": "-".join(["kdbench", *parts]),
        "module": "_".join(["kdbench", *parts]),
        "cls": "".join(part.capitalize() for part in ["kd", *parts, kind]),
        "version": ".".join(__version__.split(".")[:2]),
    }


def _layout(kind: str, module: str) -> dict[str, str]:
    """Each file of the package -> the template it is made from."""
    return {
        "pyproject.toml": "common/pyproject.toml",
        ".github/workflows/test.yml": "common/workflow.yml",
        f"{module}.py": f"{kind}/plugin.py.txt",
        f"test_{module}.py": f"{kind}/test_plugin.py.txt",
    }

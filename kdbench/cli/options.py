"""Options that several commands take."""

import functools
from typing import Any

import click

from kdbench.errors import UsageError
from kdbench.registry import load_plugin
from kdbench.registry.options import complete, defaults_of
from kdbench.registry.suggest import unknown
from kdbench.runs.settings import parse_overrides
from kdbench.runs.validity import FROM_HARNESS

set_option = click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Override a setting, such as train.steps=900 or method.weight=2; repeatable.",
)  # fmt: skip

dataset_set_option = click.option(
    "--set", "assignments", multiple=True, metavar="dataset.KEY=VALUE",
    help="An option of the data set, such as dataset.columns=5; repeatable.",
)  # fmt: skip

PLUGINS = "kdbench.plugins"  # where a command's context keeps the files given


def plugin_option(command):
    """Adds `--plugin FILE`, and loads the files before the command runs."""

    @click.option(
        "--plugin", "plugins", multiple=True, metavar="FILE",
        help="Load methods, detectors or data sets from a Python file; repeatable.",
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(*args, plugins, **kwargs):
        for path in plugins:
            load_plugin(path)
        click.get_current_context().meta[PLUGINS] = plugins
        return command(*args, **kwargs)

    return wrapped


def dataset_options(plugin: type, assignments: tuple[str, ...]) -> dict[str, Any]:
    """The options of a data set that `--set dataset.*` gives; UsageError for anything else."""
    given = parse_overrides(list(assignments))
    known = [f"dataset.{name}" for name in defaults_of(plugin) if name not in FROM_HARNESS]
    for key in given:
        if key not in known:
            raise UsageError(unknown("setting", key, known))
    options = {key.removeprefix("dataset."): value for key, value in given.items()}
    checked = complete("the data set", plugin, options)
    return {name: checked[name] for name in options}

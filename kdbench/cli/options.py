"""Options that several commands take."""

import functools

import click

from kdbench.registry import load_plugin

set_option = click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Override a setting, such as train.steps=900 or method.weight=2; repeatable.",
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

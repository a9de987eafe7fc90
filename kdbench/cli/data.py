"""`kdbench data`: the group of commands about data sets."""

import click

from kdbench.cli import LazyGroup

COMMANDS = {
    "synth": ("kdbench.cli.data_synth:synth", "Make the synthetic data set."),
    "verify": ("kdbench.cli.data_verify:verify", "Look for missing and damaged files."),
    "compare": ("kdbench.cli.data_compare:compare", "Compare the statistics of two data sets."),
}


@click.group(cls=LazyGroup, commands=COMMANDS)
def data() -> None:
    """Make, verify and compare data sets."""

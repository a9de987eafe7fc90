"""`kdbench data synth`: makes the synthetic data set."""

import time

import click

from kdbench.cli.output import console
from kdbench.errors import UsageError


@click.command()
@click.option("--out", required=True, metavar="DIR", help="Folder of the KITTI tree.")
@click.option("--frames", default=650, show_default=True, help="Frames of both splits together.")
@click.option("--val", type=int, help="Frames of the split val  [default: 3 in 13 of all].")
@click.option("--seed", default=0, show_default=True, help="Which streets.")
@click.option("--workers", type=int, help="Processes  [default: one a core].")
def synth(out: str, frames: int, val: int | None, seed: int, workers: int | None) -> None:
    """Make synthetic LiDAR frames in KITTI's layout.

    Frames that are present are kept: a stopped run goes on, a larger number adds frames. The
    same seed gives the same bytes.
    """
    from kdbench.datasets.synthetic.progress import generate_visibly

    val = round(frames * 3 / 13) if val is None else val
    if not 0 <= val <= frames:
        raise UsageError(f"--val {val}: must lie between 0 and --frames {frames}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be 1 or more")
    begin = time.perf_counter()
    made = generate_visibly(out, seed, frames - val, val, workers)
    seconds = time.perf_counter() - begin
    console.print(
        f"{out}: {frames - val} train and {val} val frames, {made} made in {seconds:.1f} s"
    )

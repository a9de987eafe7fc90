"""`kdbench show`: what a run detects, beside its teacher and a student without distillation."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from kdbench.cli.options import plugin_option
from kdbench.cli.output import console
from kdbench.errors import DataError, UsageError
from kdbench.runs.records import Record, read_record
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import replacing
from kdbench.viewing.bird_eye import bird_eye
from kdbench.viewing.camera import camera_view
from kdbench.viewing.choice import HOW, differing_frames
from kdbench.viewing.scene import Scene, Shown, frames_of, make_scene, runs_to_show
from kdbench.viewing.style import summary


@click.command()
@click.argument("run")
@click.option("--frame", "frames", multiple=True, metavar="ID", help="Frame to show; repeatable.")
@click.option("--score", type=click.FloatRange(0, 1), default=0.3, show_default=True,
              help="Show detections of at least this score.")  # fmt: skip
@click.option(
    "--out", metavar="DIR", default="pictures", show_default=True, help="Folder for PNGs."
)
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@plugin_option
def show(run, frames, score, out, results, data_root) -> None:
    """Draw points, objects and detections of single frames.

    RUN is a record file, or the start of a run's hash in the results folder. Without --frame two
    frames are chosen: where hits less false alarms are most above those of `none`, and where they
    are most below.
    """
    spec = RunSpec.from_dict(find_run(run, Path(results))["spec"])
    runs, absent = runs_to_show(spec)
    for line in absent:
        console.print(line, soft_wrap=True, markup=False)
    if not runs:
        raise DataError(f"{spec.label}: no detections in the cache; --force runs it again")
    dataset, seen = frames_of(spec, data_root)
    for frame_id in frames or _chosen(dataset, spec, runs, score, seen):
        scene = make_scene(dataset, frame_id, runs, score, seen)
        _say(scene)
        _write(scene, spec, Path(out))


def find_run(name: str, results: Path) -> Record:
    """The record of a file, or of the only run whose hash starts with `name`."""
    if Path(name).is_file():
        return read_record(Path(name))
    found = sorted(results.glob(f"*/*/*/seed*-{name}*.json")) if _hexadecimal(name) else []
    if len(found) > 1:
        raise UsageError(f"{name}: {len(found)} runs start so: {', '.join(map(str, found[:5]))}")
    if not found:
        raise UsageError(f"{name}: no such file, and no run in {results} whose hash starts so")
    return read_record(found[0])


def _hexadecimal(name: str) -> bool:
    return re.fullmatch("[0-9a-f]+", name) is not None


def _chosen(dataset, spec: RunSpec, runs: Sequence[Shown], score: float, seen) -> list[str]:
    """The frames to show when none is asked for; says how they were chosen."""
    named = {run.title: run for run in runs}
    if spec.method.name in named and "none" in named and spec.method.name != "none":
        console.print(f"showing {HOW}", soft_wrap=True)
        return differing_frames(dataset, named[spec.method.name], named["none"], score, seen)
    console.print("showing the first frame: there are no two students to compare")
    return dataset.ids("val")[:1]


def _say(scene: Scene) -> None:
    panels = "; ".join(map(summary, scene.panels))
    console.print(f"frame {scene.frame.id}: {panels}", soft_wrap=True, markup=False)


def _write(scene: Scene, spec: RunSpec, folder: Path) -> None:
    title = f"{spec.label}, frame {scene.frame.id}, scores of at least {scene.score:g}"
    stem = f"{spec.hash}-{scene.frame.id}"
    pictures = {f"{stem}-above.png": bird_eye(scene, title)}
    if scene.image:
        pictures[f"{stem}-camera.png"] = camera_view(scene, title)
    for name, png in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(png)
        console.print(f"wrote {folder / name}", soft_wrap=True, markup=False)

"""Folders of KITTI label and result files, and what stands for them in Python."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from kdbench.classes import KITTI, Classes, renamed
from kdbench.errors import DataError, Note
from kdbench.geometry import kitti_labels
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.storage.text import read_text

# A folder of files <id>.txt; or by frame id the objects, or the text of such a file.
Source = str | Path | Mapping[str, KittiObjects | str]


def read_labels(
    source: Source, frames: list[str] | None = None, classes: Classes = KITTI
) -> dict[str, KittiObjects]:
    """The labelled objects of `frames`, by default of all there are, by frame id.

    They have the names of the `classes` that they count as. Raises DataError that names what is
    missing or damaged.
    """
    if isinstance(source, Mapping):
        return _renamed(_parsed(source, "label", scored=False), classes)
    present = _frames_in(source, "label")  # says so when the folder itself is missing
    wanted = present if frames is None else frames
    return _renamed({f: kitti_labels.read(f"{source}/{f}.txt") for f in wanted}, classes)


def read_results(
    source: Source, frames: list[str], classes: Classes = KITTI
) -> dict[str, KittiObjects]:
    """The results of those `frames` that have any, by frame id; how many have none is a Note.

    They are named as labels are. Raises DataError that names what is damaged, and where there is
    none at all.
    """
    if isinstance(source, Mapping):
        found = _parsed(source, "result", scored=True)
    else:
        present = set(_frames_in(source, "result"))
        with_result = [frame for frame in frames if frame in present]
        found = {f: kitti_labels.read(f"{source}/{f}.txt", scored=True) for f in with_result}
        if not found:
            raise DataError(f"{source}: no result file for any of the {len(frames)} frames")
    if missing := len(set(frames) - set(found)):
        text = f"{missing} of {len(frames)} frames have no result file: taken as no detections"
        warnings.warn(text, Note, stacklevel=2)
    return _renamed(found, classes)


def listed_frames(path: str) -> list[str]:
    """The ids in a file of them, in its order, each once."""
    frames = read_text(path, "list of frames").split()
    if not frames:
        raise DataError(f"{path}: lists no frames")
    return list(dict.fromkeys(frames))


def _renamed(found: Mapping[str, KittiObjects], classes: Classes) -> dict[str, KittiObjects]:
    return {frame: renamed(objects, classes) for frame, objects in found.items()}


def _parsed(source: Mapping[str, KittiObjects | str], what: str, scored: bool):
    """The objects of each frame; a text is read as a file of it would be."""
    return {
        frame: kitti_labels.parse(value, f"{what} {frame}", scored)
        if isinstance(value, str)
        else value
        for frame, value in source.items()
    }


def _frames_in(folder: str | Path, what: str) -> list[str]:
    """The ids of the text files in `folder`, sorted."""
    try:
        frames = sorted(path.stem for path in Path(folder).iterdir() if path.suffix == ".txt")
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror})") from None
    if not frames:
        raise DataError(f"{folder}: no {what} files (<id>.txt)")
    return frames

"""What is wrong with a KITTI tree, one line a problem."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.classes import Classes, names_of
from kdbench.datasets.frame_rules import checked_camera, checked_cloud, crop_problem, points_on
from kdbench.datasets.label_rules import label_problems
from kdbench.datasets.list_rules import list_problems
from kdbench.datasets.progress import Show
from kdbench.datasets.reading import Reading
from kdbench.datasets.recording import read_objects
from kdbench.errors import DataError
from kdbench.geometry.kitti_labels import KittiObjects


class Inspection:
    """A look at the lists and frames of a tree; what is wrong gathers in `found`.

    root, classes, reading: of the tree.
    labelled: whether labels are asked for.
    sampled: of how many frames of a split cloud and calibration are read, evenly spread over it;
        None reads all. Labels are all read.
    """

    def __init__(
        self,
        root: Path,
        classes: Classes,
        reading: Reading,
        labelled: bool = True,
        sampled: int | None = None,
    ):
        self.root, self.training = root, root / "training"
        self.classes, self.reading, self.sampled = classes, reading, sampled
        self.folders = {"velodyne", "calib"} | ({"label_2"} if labelled else set())
        self.found: list[str] = []
        self.boxes = self.points_on_boxes = 0  # in frames whose files are all good

    def problems(
        self, splits: Sequence[str], ids: Callable[[str], list[str]], show: Show = lambda *_: None
    ) -> list[str]:
        """One line for each thing that is wrong; empty when all is well.

        `ids(split)` lists the frames of a split. A label file without a line is valid: a frame
        without objects. A split without any object is not.
        """
        if not self.root.is_dir():
            return [f"{self.root}: no such folder"]
        self._look_for_folders()
        lists = {split: self._tried(ids, split) for split in splits}
        lists = {split: listed for split, listed in lists.items() if listed is not None}
        self.found += list_problems(self.root / "ImageSets", lists)
        total = sum(map(len, lists.values()))
        for number, (split, listed) in enumerate(lists.items()):
            before = sum(len(each) for each in list(lists.values())[:number])
            self._look_at_split(split, listed, lambda done, b=before: show(b + done, total))
        if self.boxes and not self.points_on_boxes:
            self.found.append(
                f"{self.root}: no point lies in any of the {self.boxes} boxes looked at: labels,"
                " clouds and calibrations do not fit together"
            )
        return list(dict.fromkeys(self.found))  # a frame of two splits has been looked at twice

    def _look_for_folders(self) -> None:
        places = [self.root / "ImageSets", *(self.training / n for n in sorted(self.folders))]
        missing = [folder for folder in places if not folder.is_dir()]
        self.found += [f"{folder}: no such folder" for folder in missing]
        self.folders -= {folder.name for folder in missing}

    def _look_at_split(self, split: str, ids: list[str], done: Callable[[int], None]) -> None:
        sample = self._sample(ids)
        labels: dict[str, KittiObjects | None] = {}
        for number, frame_id in enumerate(ids, start=1):
            if "label_2" in self.folders:
                arguments = (self.training, frame_id, self.classes, self.reading)
                labels[frame_id] = self._tried(read_objects, *arguments)
            if frame_id in sample:
                self._look_at_frame(frame_id, labels.get(frame_id))
            done(number)
        if labels and None not in labels.values():  # else it is not known what they hold
            folder = self.training / "label_2"
            self.found += label_problems(folder, f"split {split}", labels, names_of(self.classes))

    def _sample(self, ids: list[str]) -> set[str]:
        count = len(ids) if self.sampled is None else min(self.sampled, len(ids))
        return {ids[round(i)] for i in np.linspace(0, len(ids) - 1, count)}

    def _look_at_frame(self, frame_id: str, objects: KittiObjects | None) -> None:
        arguments = (self.training, frame_id, self.reading)
        points = self._tried(checked_cloud, *arguments) if "velodyne" in self.folders else None
        camera = self._tried(checked_camera, *arguments) if "calib" in self.folders else None
        if points is None or camera is None:
            return
        if self.reading.crop:
            calib = self.training / "calib" / f"{frame_id}.txt"
            problem = crop_problem(calib, points, *camera)
            self.found += [problem] if problem else []
        if objects is not None:
            targets = objects.select(np.isin(objects.names, names_of(self.classes)))
            self.boxes += len(targets)
            self.points_on_boxes += points_on(targets, camera[0], points)

    def _tried(self, read: Callable, *arguments) -> Any:
        """What `read` returns; None where it raises a DataError, which is noted down."""
        try:
            return read(*arguments)
        except DataError as error:
            self.found.append(str(error))
            return None

"""The objects of many frames as one set of arrays, and the pairs that frames make of them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from kdbench.geometry.kitti_labels import KittiObjects


@dataclass(frozen=True)
class FlatObjects:
    """The objects of f frames one after the other, in frame and file order."""

    objects: KittiObjects  # n objects
    frame: np.ndarray  # (n,) int64, which frame an object is in
    start: np.ndarray  # (f + 1,) int64, where a frame's objects begin

    def __len__(self) -> int:
        return len(self.objects)


def flatten(frames: Iterable[KittiObjects]) -> FlatObjects:
    """One FlatObjects of the objects of at least one frame."""
    frames = list(frames)
    columns = [np.concatenate([getattr(o, f.name) for o in frames]) for f in fields(KittiObjects)]
    counts = np.array([len(o) for o in frames])
    start = np.concatenate([[0], counts.cumsum()])
    return FlatObjects(KittiObjects(*columns), np.repeat(np.arange(len(frames)), counts), start)


def pairs_in_frames(a: FlatObjects, b: FlatObjects) -> tuple[np.ndarray, np.ndarray]:
    """Indices (p,), (p,) of every object of a with every object of b in the same frame.

    In the order of a, and for one object of a in the order of b.
    """
    partners = np.diff(b.start)[a.frame]
    index_a = np.repeat(np.arange(len(a)), partners)
    first_pair = np.repeat(partners.cumsum() - partners, partners)
    index_b = np.arange(len(index_a)) - first_pair + b.start[a.frame][index_a]
    return index_a, index_b

"""Whether the lists of frames of the splits give anything to train and to judge on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path


def list_problems(folder: Path, lists: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with the lists of frame ids, by split, of the ImageSets `folder`."""
    found = []
    for split, ids in lists.items():
        path = folder / f"{split}.txt"
        if not ids:
            found.append(f"{path}: lists no frame: nothing to train or judge on")
        if repeated := [i for i, count in Counter(ids).items() if count > 1]:
            found.append(f"{path}: {_frames(repeated)} listed more than once")
    splits = list(lists)
    for i, first in enumerate(splits):
        for second in splits[i + 1 :]:
            shared = sorted(set(lists[first]) & set(lists[second]))
            if shared:
                found.append(
                    f"{folder}: {_frames(shared)} listed in both {first}.txt and {second}.txt:"
                    " what was trained on cannot judge"
                )
    return found


def _frames(ids: Sequence[str]) -> str:
    """`frame 000001 is`, or `frame 000001 and 7 others are`."""
    if len(ids) == 1:
        return f"frame {ids[0]} is"
    others = f"{len(ids) - 1} other{'s' if len(ids) > 2 else ''}"
    return f"frame {ids[0]} and {others} are"

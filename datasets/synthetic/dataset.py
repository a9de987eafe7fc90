"""The embedded default data set: streets that are simulated when they are first asked for."""

from pathlib import Path
from typing import ClassVar

from kdbench.datasets.kitti_tree import KittiTree
from kdbench.datasets.synthetic.generate import VERSION, stamp_of
from kdbench.datasets.synthetic.progress import generate_visibly
from kdbench.storage.home import home


class Synthetic(KittiTree):
    """Simulated LiDAR frames in KITTI's layout.

    root: a tree made before (`kdbench data synth`); None keeps one in the cache, and makes the
        frames it lacks.
    seed: which streets; any frame depends on it and on its own number alone.
    train_frames, val_frames: how many of each.
    cache_dir: where the tree and the ground-truth database are kept; by default
        `$KDBENCH_HOME` or ~/.cache/kdbench.
    point_range, augmentation: as in `KittiTree`.
    """

    name: ClassVar[str] = "synthetic"

    def __init__(
        self,
        *,
        root: Path | str | None = None,
        seed: int = 0,
        train_frames: int = 500,
        val_frames: int = 150,
        cache_dir: Path | str | None = None,
        point_range=None,
        augmentation: dict | None = None,
    ):
        cache_dir = Path(cache_dir or home()).expanduser()
        if root is None:
            root = cache_dir / "synthetic" / f"v{VERSION}-seed{seed}"
            generate_visibly(root, seed, train_frames, val_frames)
        super().__init__(
            root=root,
            train_frames=train_frames,
            val_frames=val_frames,
            cache_dir=cache_dir,
            point_range=point_range,
            augmentation=augmentation,
        )

    def fingerprint(self) -> str:
        """The generator's version, the seed and the numbers of frames.

        Not the bytes: the last bit of a coordinate differs between processors. A folder that the
        generator has not stamped is told by its contents, as any tree.
        """
        made = stamp_of(self.root)
        if made is None:
            return super().fingerprint()
        counts = "+".join(str(len(self.ids(split))) for split in self.split_limits)
        return f"v{made['generator']}-seed{made['seed']}-{counts}"

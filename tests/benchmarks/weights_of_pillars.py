"""Where PointDistiller's weight phi falls: on objects or on background, near or far.

    python tests/benchmarks/weights_of_pillars.py [--data-root KITTI] [--frames N] [--picture P.png]

Prints, by what a pillar's centre lies in and by its distance, the share of all pillars, of the N
that are chosen and of phi, over augmented training frames, as `quick` sets N and tau; `--picture`
draws phi over the last of them.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from kdbench.dataset import Frame, collate
from kdbench.detector import Detector
from kdbench.geometry.boxes import box_of_points
from kdbench.method import Method
from kdbench.runs.build import build_detector, build_method
from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset

REACHES = ((0, 10), (10, 20), (20, 30), (30, 60))


@dataclass
class Pillars:
    """The pillars of one frame: centres (n, 3), whether each is chosen, and phi (n,), sum 1."""

    centres: np.ndarray
    chosen: np.ndarray
    phi: np.ndarray


@torch.no_grad()
def pillars(frame: Frame, student: Detector, method: Method) -> Pillars:
    """As the method itself sees them."""
    rows = student(student.prepare(collate([frame])))["voxel"]
    score = method._score(rows)
    graph, sizes = method._graph(rows, score)
    phi = torch.zeros(len(score))
    phi[graph.centre] = method._weight(score[graph.centre].float(), None, sizes)
    cell, (x0, y0) = student.taps["voxel"].cell, student.point_range[:2]
    yx = rows.coordinates[:, 1:].numpy()
    x, y = x0 + (yx[:, 1] + 0.5) * cell, y0 + (yx[:, 0] + 0.5) * cell
    chosen = np.isin(np.arange(len(score)), graph.centre.numpy())
    return Pillars(np.stack([x, y, np.zeros_like(x)], 1), chosen, phi.numpy())


def shares(frame: Frame, classes: tuple[str, ...], found: Pillars) -> dict[str, np.ndarray]:
    """By place: the shares of all pillars, of the chosen ones and of phi."""
    footprints = frame.boxes.copy()
    footprints[:, 2], footprints[:, 5] = 0, 1  # whatever is above the ground
    inside = box_of_points(found.centres, footprints)
    names = np.append(np.array(classes)[frame.labels], "background")[inside]  # -1: in none
    reach = np.hypot(*found.centres[:, :2].T)
    places = {f"of {name}": names == name for name in (*classes, "background")}
    places |= {f"{low}-{high} m": (reach >= low) & (reach < high) for low, high in REACHES}
    weights = np.stack([np.ones_like(found.phi), found.chosen, found.phi])
    weights /= weights.sum(1, keepdims=True)
    return {place: weights[:, here].sum(1) for place, here in places.items()}


def picture(frame: Frame, found: Pillars, path: str) -> None:
    """The frame from above: its pillars, coloured by phi against an equal share, and its boxes."""
    from matplotlib import pyplot

    from kdbench.geometry.boxes import corners

    figure, axis = pyplot.subplots(figsize=(8, 7), layout="constrained")
    axis.scatter(-found.centres[:, 1], found.centres[:, 0], s=1, c="0.8")
    x, y = found.centres[found.chosen, 0], found.centres[found.chosen, 1]
    phi = found.phi[found.chosen] * found.chosen.sum()
    drawn = axis.scatter(-y, x, s=5, c=phi, cmap="viridis_r", norm="log", vmin=0.1, vmax=10)
    for box in corners(frame.boxes)[:, [0, 1, 2, 3, 0]]:
        axis.plot(-box[:, 1], box[:, 0], c="tab:red", lw=1)
    figure.colorbar(drawn, label="phi, times the number of chosen pillars")
    axis.set(aspect="equal", xlabel="metres to the right", ylabel="metres ahead", title=frame.id)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", help="a KITTI tree; without it the synthetic frames")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--variant", default="paper")
    parser.add_argument("--picture")
    given = parser.parse_args()
    spec = build_spec(
        method="pointdistiller", detector="pointpillars", ratio=4,
        dataset="kitti" if given.data_root else "synthetic", profile="quick",
        overrides={"method.variant": given.variant},
    )  # fmt: skip
    dataset = build_dataset(spec, given.data_root)
    student = build_detector(spec.detector, dataset.classes)
    method = build_method(spec.method, student.taps, student.taps)
    ids = dataset.ids("train")[: given.frames]
    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for number, frame_id in enumerate(ids):
        frame = dataset.training_frame(frame_id, np.random.default_rng(number))
        found = pillars(frame, student, method)
        for place, part in shares(frame, dataset.classes, found).items():
            total[place] += part
    print(f"{given.variant}, {spec.dataset.name}, {len(ids)} frames: pillars, chosen, phi")
    for place, parts in total.items():
        print(f"{place:16s}", *(f"{100 * part / len(ids):7.2f} %" for part in parts))
    if given.picture:
        picture(frame, found, given.picture)


if __name__ == "__main__":
    main()

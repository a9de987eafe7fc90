"""The public networks that can be imported: how to tell them, their widths, their tensors."""

from collections.abc import Callable
from dataclasses import dataclass

from kdbench.detectors import centerpoint, pointpillars, second
from kdbench.errors import DataError, UsageError
from kdbench.imports import bev_layers as bev
from kdbench.imports import center_layers as center
from kdbench.imports import point_layers as point
from kdbench.imports import sparse_layers as sparse
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import Transfer
from kdbench.registry.suggest import unknown


@dataclass(frozen=True)
class Layout:
    """A network in a project's form."""

    signs: tuple[str, ...]  # beginnings of names that a file of it, and no other, has together
    widths: Callable[[Checkpoint], list[int]]  # in the order of the detector's option `widths`
    fill: Callable[[Transfer, Settings], None]


def _pointpillars(format: str) -> Layout:
    names = bev.NAMES[format]

    def widths(file: Checkpoint) -> list[int]:
        return [bev.pillar_width(file, names), *bev.map_widths(file, names, 3)]

    def fill(t: Transfer, settings: Settings) -> None:
        bev.fill_pillars(t, names, "encoder", settings)
        bev.fill_map(t, names, pointpillars.DEPTHS)
        bev.fill_anchor_head(t, names, settings)

    return Layout((names.pillars, f"{names.head}.conv_cls"), widths, fill)


def _second(format: str) -> Layout:
    names, blocks = bev.NAMES[format], sparse.BLOCKS[format]

    def widths(file: Checkpoint) -> list[int]:
        return [*sparse.sparse_widths(file, blocks), *bev.map_widths(file, names, 2)]

    def fill(t: Transfer, settings: Settings) -> None:
        sparse.fill_sparse(t, blocks)
        bev.fill_map(t, names, second.DEPTHS, cells=2)
        bev.fill_anchor_head(t, names, settings)

    return Layout((blocks[0], f"{names.head}.conv_cls"), widths, fill)


def _centerpoint(format: str) -> Layout:
    names = bev.NAMES[format]

    def widths(file: Checkpoint) -> list[int]:
        pillars = bev.pillar_width(file, names)
        return [pillars, *bev.map_widths(file, names, 3), center.head_width(file)]

    def fill(t: Transfer, settings: Settings) -> None:
        bev.fill_pillars(t, names, "encoder.encoder", settings)
        bev.fill_map(t, names, centerpoint.FORMS["pillar"].depths)
        center.fill_center_head(t, settings)

    return Layout((names.pillars, center.SHARED), widths, fill)


LAYOUTS = {
    ("openpcdet", "pointpillars"): _pointpillars("openpcdet"),
    ("mmdet3d", "pointpillars"): _pointpillars("mmdet3d"),
    ("openpcdet", "second"): _second("openpcdet"),
    ("mmdet3d", "second"): _second("mmdet3d"),
    ("openpcdet", "centerpoint"): _centerpoint("openpcdet"),
    ("openpcdet", "pointrcnn"): Layout(
        (f"{point.BACKBONE}.SA_modules", f"{point.FIRST}.box_layers", f"{point.SECOND}.SA_modules"),
        point.point_widths,
        point.fill_points,
    ),
}


def choose(file: Checkpoint, detector: str | None) -> str:
    """The detector that a file is of, or `detector` when that is given.

    Raises UsageError for one that cannot be imported, DataError for a file that is of none.
    """
    known = {name: layout for (format, name), layout in LAYOUTS.items() if format == file.format}
    if detector is not None:
        if detector not in known:
            raise UsageError(unknown(f"network of {file.format}", detector, known))
        return detector
    for name, layout in known.items():
        if all(any(key.startswith(sign) for key in file.tensors) for sign in layout.signs):
            return name
    parts = sorted({key.split(".")[0] for key in file.tensors})
    raise DataError(
        f"{file.path}: of no network that can be imported ({', '.join(known)}); it has the parts "
        f"{', '.join(parts[:8])}"
    )

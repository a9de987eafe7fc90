"""The sparse encoder of SECOND as OpenPCDet and mmdetection3d name and store it.

Kernels of spconv 2 are (out, z, y, x, in), as kdbench's; of spconv 1, and of mmcv's own, they are
(z, y, x, in, out); of the first versions of spconv 2 (z, y, x, out, in). Shapes tell which.
"""

from kdbench.errors import DataError
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.transfer import Transfer

INPUTS = 4  # x, y, z, reflectance
# Which axes of a stored kernel are out, z, y, x and in.
LAYOUTS = ((0, 1, 2, 3, 4), (4, 0, 1, 2, 3), (3, 0, 1, 2, 4))


def _blocks(base: str, stage: str) -> tuple[str, ...]:
    """The blocks of an encoder in the order in which they follow each other."""
    layers = [f"{stage}1.0", *(f"{stage}{i}.{k}" for i in (2, 3, 4) for k in range(3))]
    return tuple(f"{base}.{name}" for name in ("conv_input", *layers, "conv_out"))


BLOCKS = {
    "openpcdet": _blocks("backbone_3d", "conv"),
    "mmdet3d": _blocks("middle_encoder", "encoder_layers.encoder_layer"),
}


def sparse_widths(file: Checkpoint, blocks: tuple[str, ...]) -> list[int]:
    """The channels of the stages and of the last layer, by their norms.

    Raises DataError for a network with other inputs, as for other sensors.
    """
    widths = [file.shape(f"{block}.1.weight")[0] for block in blocks]
    first = file.shape(f"{blocks[0]}.0.weight")
    inputs = {first[-1], first[-2]} if len(first) == 5 else set()
    if INPUTS not in inputs:
        raise DataError(
            f"{file.path}: {blocks[0]}.0.weight is {first}, not a kernel over {INPUTS} values a "
            "voxel (x, y, z, reflectance); files for other sensors (Waymo, nuScenes) have more"
        )
    return [widths[1], widths[2], widths[5], widths[8], widths[-1]]


def fill_sparse(t: Transfer, blocks: tuple[str, ...]) -> None:
    """All blocks of `encoder.encoder`."""
    layout = _layout(t, blocks)
    for i, block in enumerate(blocks):
        own = f"encoder.encoder.blocks.{i}"
        shape = _stored(t.wanted[f"{own}.conv.weight"].shape, layout)
        t.put(f"{own}.conv.weight", t.take(f"{block}.0.weight", shape).permute(layout))
        t.norm(f"{own}.norm", f"{block}.1")


def _layout(t: Transfer, blocks: tuple[str, ...]) -> tuple[int, ...]:
    """The layout that all kernels of a file fit; the first one, whose misfit is told, if none."""
    shapes = [
        (t.wanted[f"encoder.encoder.blocks.{i}.conv.weight"].shape, t.file.shape(f"{b}.0.weight"))
        for i, b in enumerate(blocks)
    ]
    for layout in LAYOUTS:
        if all(_stored(own, layout) == found for own, found in shapes):
            return layout
    return LAYOUTS[0]


def _stored(shape, layout: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which a layout stores a kernel of `shape` (out, z, y, x, in)."""
    return tuple(shape[layout.index(axis)] for axis in range(len(layout)))

"""Arrays of CenterPoint as OpenPCDet lays them out.

They are computed in float64, so that what is compared is not our rounding: a heading is read from
its cosine and sine, and where both are near 0 the last digits of float32 show in it.
"""

import copy

import numpy as np
import torch

from kdbench.imports.compare import View
from kdbench.imports.detections import detection_arrays
from kdbench.imports.map_arrays import batch_of, map_arrays
from kdbench.imports.network import Imported


def center_arrays(
    imported: Imported, points: np.ndarray, arrays: dict[str, np.ndarray]
) -> dict[str, View]:
    """All arrays of a network for points (n, 4); `top_*` at the cells of a case."""
    network = copy.deepcopy(imported.network).double()
    found, taps = map_arrays(network, batch_of(points))
    heat, codes = (taps[f"head.{name}"][0, :, :, 0] for name in ("cls", "box"))
    heat = heat[..., torch.tensor(imported.settings.order).argsort()]
    sine, cosine = codes[..., 6:7], codes[..., 7:8]
    maps = {
        "hm": heat,
        "center": codes[..., :2],
        "center_z": codes[..., 2:3],
        "dim": codes[..., 3:6],
        "rot": torch.cat([cosine, sine], dim=-1),
    }
    found |= {name: View(x.permute(2, 0, 1).numpy(), rows=1) for name, x in maps.items()}
    boxes = network.head.decode(codes.unsqueeze(2)).squeeze(2)
    scores = heat.sigmoid()
    if "top_cell" in arrays:
        cell = tuple(torch.from_numpy(arrays["top_cell"]).long().T)
        # A cell may stand among the best for several classes: the one that is meant by its score.
        error = scores[cell] - torch.from_numpy(arrays["top_score"]).unsqueeze(1)
        label = error.abs().argmin(1)
        best = scores[cell].gather(1, label.unsqueeze(1)).squeeze(1)
        parts = {"score": best, "label": label, "boxes": boxes[cell]}
        found |= {f"top_{name}": View(x.numpy()) for name, x in parts.items()}
    if "boxes" in arrays:
        flat = (boxes.flatten(0, 1), scores.flatten(0, 1))
        found |= detection_arrays(*flat, imported.file.format, arrays)
    return found

"""AP over resampled frames, and how a record keeps it.

Frames are drawn with replacement, as often as there are frames. The draws depend on the number of
frames alone, so those of two runs over the same frames pair off: draw k of one and draw k of the
other see the same frames. No frame is matched again (`matching.py`); a draw costs one pass over
the detections a class and metric. Recalls are filled (`filled_ap.py`), and a draw of frames that
show no object of a class has no AP of it.
"""

import base64
from typing import Any

import numpy as np

from kdbench.evaluation.filled_ap import DIFFICULTY, METRICS, filled
from kdbench.evaluation.kitti_ap import Matches
from kdbench.evaluation.precision import average_precision

DRAWS = 1000
UNIT = 0.002  # percent: AP is kept as 16-bit multiples of it
ABSENT = 2**16 - 1  # in their place where a draw has no AP


def frame_weights(frames: int, draws: int = DRAWS) -> np.ndarray:
    """How often each frame is drawn, (draws, frames) int64."""
    rng = np.random.default_rng(frames)
    return rng.multinomial(frames, np.full(frames, 1 / frames), size=draws)


def resampled_ap(matches: Matches, draws: int = DRAWS) -> np.ndarray:
    """AP in percent as `filled_ap` has it: (metrics, classes, draws), NaN where there is none."""
    matches = filled(matches)
    weights = frame_weights(len(matches.frames), draws)
    result = np.empty((len(METRICS), len(matches.classes), draws))
    for m, metric in enumerate(METRICS):
        for c, name in enumerate(matches.classes):
            curves = np.stack([matches.precision(name, metric, DIFFICULTY, w)[0] for w in weights])
            drawn = weights @ matches.positives[name, DIFFICULTY] > 0
            result[m, c] = np.where(drawn, 100 * average_precision(curves)[1], np.nan)
    return result


def pack(ap: np.ndarray, frames: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """What `resampled_ap` gave, as a record keeps it: 12 kB a thousand draws of three classes."""
    steps = np.where(np.isnan(ap), ABSENT, np.round(ap / UNIT)).astype("<u2")
    return {
        "frames": frames,
        "metrics": list(METRICS),
        "classes": list(classes),
        "draws": ap.shape[2],
        "unit": UNIT,
        "ap": base64.b64encode(steps.tobytes()).decode(),
    }


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The inverse of `pack`, to a hundredth of a point: (metrics, classes, draws) float64."""
    shape = len(packed["metrics"]), len(packed["classes"]), packed["draws"]
    steps = np.frombuffer(base64.b64decode(packed["ap"]), "<u2").reshape(shape)
    return np.where(steps == ABSENT, np.nan, steps * packed["unit"])

"""What the runs of one row scored, and how far seeds and frames move it.

A score over n seeds has two sources of noise. Seeds: the variance over seeds, which holds each
seed's own luck with the frames. Frames: what other frames would have done to all seeds alike. The
second is measured on drawn frames (`evaluation/resample.py`; records hold the outcome): the mean
over seeds varies by it and by a share 1 / n of the seeds' own luck, `own`, which is taken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.evaluation.filled_ap import METRICS, ap_of
from kdbench.evaluation.resample import unpack
from kdbench.runs.records import Record


@dataclass(frozen=True)
class Scores:
    """AP in percent by k keys: `bev_map`, `bev_car`, ..., `3d_map`, ... NaN where there is none."""

    keys: tuple[str, ...]
    of_seeds: np.ndarray  # (n, k): on all frames
    drawn: np.ndarray  # (k, draws) float32: mean over seeds on drawn frames
    own: np.ndarray  # (k,): variance over draws of one seed's luck with the frames; NaN for n = 1
    frames: tuple  # what must agree for draws to pair off

    @property
    def mean(self) -> np.ndarray:
        """(k,)."""
        return self.of_seeds.mean(0)

    @property
    def variance(self) -> np.ndarray:
        """Over seeds, (k,); 0 for one."""
        return self.of_seeds.var(0, ddof=1) if self.freedom else np.zeros(len(self.keys))

    @property
    def freedom(self) -> int:
        return len(self.of_seeds) - 1


def scores_of(runs: Sequence[Record]) -> Scores | None:
    """The scores of runs that differ by the seed alone; None where one holds no resampled AP."""
    packed = [r["metrics"].get("resamples") for r in runs]
    if not packed or None in packed or len({_drawn_from(p) for p in packed}) > 1:
        return None
    classes = tuple(packed[0]["classes"])
    drawn = np.stack([_with_mean(unpack(p)) for p in packed])  # (n, k, draws)
    plain = [_with_mean(_plain(run, classes)[..., None])[:, 0] for run in runs]
    centred = drawn - drawn.mean(0)
    own = (centred.var(-1).sum(0) / (len(runs) - 1)) if len(runs) > 1 else np.nan
    return Scores(
        keys=tuple(f"{metric}_{name}" for metric in METRICS for name in ("map", *classes)),
        of_seeds=np.stack(plain),
        drawn=drawn.mean(0).astype(np.float32),
        own=np.broadcast_to(own, drawn.shape[1]),
        frames=_drawn_from(packed[0]),
    )


def _with_mean(ap: np.ndarray) -> np.ndarray:
    """(metrics, classes, draws) -> (metrics x (1 + classes), draws), the mean over classes first.

    Classes that a draw does not show are left out of its mean.
    """
    known = ~np.isnan(ap)
    mean = np.where(known, ap, 0).sum(1) / np.maximum(known.sum(1), 1)
    return np.concatenate([mean[:, None], ap], axis=1).reshape(-1, ap.shape[2])


def _plain(record: Record, classes: Sequence[str]) -> np.ndarray:
    """AP on all frames, (metrics, classes); NaN for a class that no frame shows."""
    ap = ap_of(record["metrics"])
    return np.array([[ap[metric][name] for name in classes] for metric in METRICS], float)


def _drawn_from(packed: dict) -> tuple:
    return packed["frames"], packed["draws"], tuple(packed["classes"])

"""What a row says beyond mAP: the worst class, agreement with the teacher, calibration, bands."""

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from kdbench.evaluation.calibration_error import pooled
from kdbench.evaluation.filled_ap import ap_of
from kdbench.evaluation.resample import METRICS
from kdbench.leaderboard.costs import mean
from kdbench.runs.records import Record

Row = dict[str, Any]
AGREEMENT = ("f1", "recall", "precision", "iou", "pearson", "spearman")


def behaviour(group: Sequence[Record], baselines: Sequence[Record]) -> Row:
    """All of it, as means over the runs; None where records do not have it.

    `bev_worst_gain`, `bev_worst_class`: the class with the least gain over `none`;
    `agreement_f1`, ...; `calibration_bev`: D-ECE, mean over classes, 0..1; `reliability`: by
    metric the bins of all classes and runs together; `bands`, see `_bands`.
    """
    row: Row = {}
    for metric in METRICS:
        row |= _worst(metric, group, baselines)
    return row | _agreement(group) | _calibration(group) | _bands(group, baselines)


def _worst(metric: str, group, baselines) -> Row:
    gains = {}
    if baselines:
        own, base = ([ap_of(r["metrics"])[metric] for r in runs] for runs in (group, baselines))
        for name in own[0]:
            if own[0][name] is not None:
                gains[name] = fmean(r[name] for r in own) - fmean(r[name] for r in base)
    name = min(gains, key=gains.get, default=None)
    return {f"{metric}_worst_gain": gains.get(name), f"{metric}_worst_class": name}


def _agreement(group) -> Row:
    found = [r["metrics"].get("agreement") or {} for r in group]
    return {f"agreement_{key}": mean(own.get(key) for own in found) for key in AGREEMENT}


def _calibration(group) -> Row:
    found = [r["metrics"]["calibration"] for r in group if r["metrics"].get("calibration")]
    row: Row = {"reliability": {}}
    for metric in METRICS:
        row[f"calibration_{metric}"] = mean(own[metric]["error"]["mean"] for own in found)
        bins = [b for own in found for b in own[metric]["bins"].values()]
        if bins:
            row["reliability"][metric] = pooled(bins)
    return row


def _bands(group, baselines) -> Row:
    """AP by band, mean over classes, and its gain over `none`: `bev_range_0_20_m`, `..._gain`.

    `bands`: the ends of these keys, with the names of the bands.
    """
    own, base = _band_means(group), _band_means(baselines)
    names = own.pop("bands", {})
    gains = {
        f"{key}_gain": ap - base[key] if ap is not None and base.get(key) is not None else None
        for key, ap in own.items()
    }
    return {"bands": names} | own | gains


def _band_means(group) -> Row:
    """AP by band; empty when a run has none, or others than the first."""
    found = [r["metrics"].get("breakdown") for r in group]
    if not found or None in found or any(b["bands"] != found[0]["bands"] for b in found):
        return {}
    names = {
        re.sub(r"\W+", "_", f"{trait} {band}").strip("_"): band
        for trait, own in found[0]["bands"].items() for band in own
    }  # fmt: skip
    row: Row = {"bands": names}
    for metric in METRICS:
        columns = zip(*(b[metric]["mean"] for b in found), strict=True)
        for key, column in zip(names, columns, strict=True):
            row[f"{metric}_{key}"] = None if None in column else fmean(column)
    return row

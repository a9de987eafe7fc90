"""The columns of the leaderboard, stated once for every form it is written in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kdbench.leaderboard.rows import Row
from kdbench.measure.contention import DISTURBED

ABSENT = "-"


@dataclass(frozen=True)
class Column:
    """One column: the key of a row that it is sorted by, its text, and what it means."""

    key: str
    show: Callable[[Row], str]
    about: str = ""


def known(value) -> bool:
    """Whether there is a number at all: not None, NaN or infinite."""
    return value is not None and math.isfinite(value)


def is_noise(row: Row, metric: str) -> bool:
    """Whether the gain does not survive the look at all methods of the table."""
    return row.get(f"{metric}_significant") is False


def disturbed(row: Row) -> bool:
    """Whether other programs took part of the machine while the latency was measured."""
    return row["latency_contention"] > DISTURBED


def number(value, form: str, scale: float = 1.0) -> str:
    """A number in a format, or the sign for none."""
    return format(value * scale, form) if known(value) else ABSENT


def _number(key: str, form: str, scale: float = 1.0):
    return lambda row: number(row[key], form, scale)


def _gain(metric: str):
    """The gain; in parentheses when it is no more than noise."""

    def show(row: Row) -> str:
        text = number(row[f"{metric}_gain"], "+.2f")
        return f"({text})" if is_noise(row, metric) and text != ABSENT else text

    return show


def _interval(metric: str):
    """The interval of a gain; `metric` is bev, real_bev, ..."""

    def show(row: Row) -> str:
        low, high = row[f"{metric}_gain_low"], row[f"{metric}_gain_high"]
        if row["method"] == "none" or not (known(low) and known(high)):
            return ABSENT
        return f"{low:+.1f}..{high:+.1f}"

    return show


def _with_std(key: str):
    def show(row: Row) -> str:
        spread = row[f"{key}_std"]
        return number(row[key], ".2f") + (f"±{spread:.2f}" if known(spread) else "")

    return show


def _latency(key: str, form: str = ".1f"):
    def show(row: Row) -> str:
        text = number(row[key], form)
        mark = ("*" if disturbed(row) else "") + ("†" if row["elsewhere"] else "")
        return text if text == ABSENT else text + mark

    return show


def _timed(key: str, form: str):
    """Seconds of training, and quotients of them."""

    def show(row: Row) -> str:
        text = number(row[key], form)
        return text + "†" if row["elsewhere"] and text != ABSENT else text

    return show


def _worst(metric: str):
    """The gain of the class that gains least, and which one it is."""

    def show(row: Row) -> str:
        text = number(row[f"{metric}_worst_gain"], "+.1f")
        name = row[f"{metric}_worst_class"]
        return ABSENT if text == ABSENT or row["method"] == "none" else f"{text} {name}"

    return show


def _ratios(row: Row) -> str:
    return f"{number(row['ratio_parameters'], '.1f')}/{number(row['ratio_macs'], '.1f')}"


def _accuracy(metric: str, suffix: str) -> dict[str, Column]:
    """The columns of one metric; the mAP stands before them."""
    return {
        f"gain{suffix}": Column(
            f"{metric}_gain", _gain(metric), "mAP over `none` of the same schedule"
        ),
        f"95 %{suffix}": Column(f"{metric}_gain_low", _interval(metric), "interval of the gain"),
        f"rec.{suffix}": Column(
            f"{metric}_recovered", _number(f"{metric}_recovered", ".0%"),
            "gain as a share of what the teacher has over `none`",
        ),
        f"rank{suffix}": Column(
            f"{metric}_rank", _number(f"{metric}_rank", ".0f"),
            "one more than the methods whose interval lies above; overlapping ones share it",
        ),
    }  # fmt: skip


def _worth(metric: str, key: str = "worth"):
    """The worth, or what follows from it; a bound where the ladder of `none` ends before it."""

    def show(row: Row) -> str:
        sign = {"below": "< ", "beyond": "> "}.get(row[f"{metric}_worth_end"], "")
        text = number(row[f"{metric}_{key}"], ".2f")
        return text if text == ABSENT else sign + text

    return show


def _worth_interval(metric: str):
    def show(row: Row) -> str:
        low, high = row[f"{metric}_worth_low"], row[f"{metric}_worth_high"]
        told = known(low) and known(high) and low < high  # not where both are the ladder's end
        return f"{low:.2f}..{high:.2f}" if told else ABSENT

    return show


def _real_gain(metric: str):
    """The gain on real frames; in parentheses when its own interval holds zero."""

    def show(row: Row) -> str:
        text = number(row[f"real_{metric}_gain"], "+.2f")
        low, high = (row[f"real_{metric}_gain_{end}"] for end in ("low", "high"))
        return f"({text})" if known(low) and low <= 0 <= high else text

    return show


def _of_worth(metric: str, suffix: str) -> dict[str, Column]:
    return {
        f"worth{suffix}": Column(
            f"{metric}_worth", _worth(metric),
            "steps at which `none` is as good, against the method's own",
        ),
        f"worth 95 %{suffix}": Column(
            f"{metric}_worth_low", _worth_interval(metric), "its interval over seeds"
        ),
        f"net{suffix}": Column(
            f"{metric}_net", _worth(metric, "net"),
            "worth by cost: below 1 it is a slower way of training for longer",
        ),
    }  # fmt: skip


def _of_real(metric: str, suffix: str) -> dict[str, Column]:
    return {
        f"real{suffix}": Column(
            f"real_{metric}_map", _number(f"real_{metric}_map", ".2f"),
            "mAP on real frames that the run never learned from",
        ),
        f"real gain{suffix}": Column(
            f"real_{metric}_gain", _real_gain(metric), "mAP over `none` on real frames"
        ),
        f"real 95 %{suffix}": Column(
            f"real_{metric}_gain_low", _interval(f"real_{metric}"), "interval of the gain there"
        ),
    }  # fmt: skip


NAME = {"method": Column("label", lambda row: row["label"])}

# Title -> column.
ACCURACY = NAME | {
    "seeds": Column("seed_count", lambda row: str(len(row["seeds"])), "number of runs"),
    "BEV mAP": Column("bev_map", _with_std("bev_map"), "mean AP over classes, seen from above"),
    **_accuracy("bev", ""),
    "3D mAP": Column("3d_map", _with_std("3d_map"), "mean AP over classes, in space"),
    **_accuracy("3d", " 3D"),
}  # fmt: skip
WORTH = NAME | {
    **_of_worth("bev", ""),
    **_of_worth("3d", " 3D"),
    "cost": Column(
        "cost", _timed("cost", ".2f"), "a training step against a plain one, timed in turns"
    ),
    **_of_real("bev", ""),
    **_of_real("3d", " 3D"),
}
BEHAVIOUR = NAME | {
    "worst": Column(
        "bev_worst_gain", _worst("bev"), "the class that gains least over `none`, BEV AP"
    ),
    "worst 3D": Column("3d_worst_gain", _worst("3d"), "the same in space"),
    "agree": Column(
        "agreement_f1", _number("agreement_f1", ".1f", 100),
        "detections shared with the teacher, F1 in percent",
    ),
    "of T": Column(
        "agreement_recall", _number("agreement_recall", ".1f", 100),
        "share of the teacher's detections that the student has too, percent",
    ),
    "IoU": Column("agreement_iou", _number("agreement_iou", ".3f"), "mean BEV IoU of the shared"),
    "rho": Column(
        "agreement_spearman", _number("agreement_spearman", ".3f"),
        "rank correlation of their scores (Spearman)",
    ),
    "r": Column(
        "agreement_pearson", _number("agreement_pearson", ".3f"),
        "correlation of their scores (Pearson)",
    ),
    "D-ECE": Column(
        "calibration_bev", _number("calibration_bev", ".1f", 100),
        "calibration error of the scores, matches from above, percent: less is better",
    ),
    "D-ECE 3D": Column(
        "calibration_3d", _number("calibration_3d", ".1f", 100), "the same, matches in space"
    ),
}  # fmt: skip
COSTS = NAME | {
    "params M": Column("parameters", _number("parameters", ".3f", 1e-6), "million parameters"),
    "GMAC": Column("macs", _number("macs", ".3f", 1e-9), "multiply-accumulates a frame, 10^9"),
    "ratio": Column("ratio_parameters", _ratios, "measured: parameters/MACs of the full width"),
    "p50": Column("latency_p50_ms", _latency("latency_p50_ms"), "median latency, ms"),
    "p90": Column("latency_p90_ms", _latency("latency_p90_ms"), "90th percentile latency, ms"),
    "mAP/ms": Column("map_per_ms", _latency("map_per_ms", ".3f"), "BEV mAP by median latency"),
    "s/step": Column(
        "seconds_per_step", _timed("seconds_per_step", ".3f"), "median training step, s"
    ),
    "x none": Column(
        "step_against_none", _number("step_against_none", ".2f"), "training step against `none`"
    ),
    "x train": Column(
        "training_against_none", _number("training_against_none", ".2f"),
        "all training steps against those of `none`",
    ),
    "x all": Column(
        "training_with_teacher", _number("training_with_teacher", ".2f"),
        "the same with the training of the teacher that the method learns from",
    ),
    "peak GB": Column(
        "peak_memory_bytes", _number("peak_memory_bytes", ".2f", 1e-9), "memory of training, 10^9 B"
    ),
    "of method": Column(
        "method_parameters", _number("method_parameters", ",.0f"),
        "parameters of the method itself, gone after training",
    ),
}  # fmt: skip

TABLES = {"Accuracy": ACCURACY, "Worth": WORTH, "Beyond mAP": BEHAVIOUR, "Cost": COSTS}
COLUMNS = ACCURACY | WORTH | BEHAVIOUR | COSTS

EXPLANATION = """
mAP: mean over the classes of AP at 40 recall positions, moderate difficulty, in percent; as KITTI's
own, but recalls are filled, so that a perfect detector has 100 however few objects there are, and a
class without objects does not count. gain: against all runs of `none` of the same schedule, and its
95 % interval over frames and seeds (one seed each: frames alone); (in parentheses): no more than
noise, once all methods of the table are looked at (Holm). rec.: recovered, gain as a share of what
the teacher has over `none`; - where that is less than a point or within noise. rank: one more than
the number of methods whose interval lies above; methods that overlap share a rank. worth: the steps
at which `none` reaches the method's mAP, against the method's own (< and >: there its ladder of
steps ends). cost: a training step against a plain one, timed in turns by `kdbench step-cost`. net:
worth by cost; below 1 the method is a slower way of training for longer. real: on real frames that
the run never learned from, with a gain and an interval of their own. worst: the class that gains
least. agree: how far the detections with scores from 0.3 are those of the teacher (F1 of matches
from above; of T: share of the teacher's); IoU, rho, r: overlap and correlations of scores
(Spearman, Pearson) of what both have. D-ECE: calibration error in percent, how far scores from 0.1
are from the share of detections that are right, mean over classes. ratio: measured, parameters and
MACs, against the full width. p50, p90: latency at batch 1 in ms (*: other programs disturbed it; †,
here and elsewhere: published, on another machine than this folder's own runs); mAP/ms: BEV mAP by
p50. s/step, x none: median step of the trainings themselves, whatever ran beside them, and against
`none`; x train: all steps against those of `none`; x all: with the teacher's training on top. of
method: parameters that the method adds to training. [not verified]: with a run that was sent in and
that the maintainers of kdbench have not carried out themselves. ± is the standard deviation over
seeds; a table of one seed says nothing about another.
""".strip().replace("\n", " ")

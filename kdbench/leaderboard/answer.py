"""What a leaderboard says, in sentences: did it help, by how much, and could that be shown."""

from collections.abc import Sequence

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.columns import is_noise, known
from kdbench.leaderboard.rows import Row

MOST = 3  # methods of a table that get a sentence of their own; of more, the best one does


def answers(tables: Sequence[tuple[str, Sequence[Row]]]) -> list[str]:
    """A paragraph a table with gains, from the titles and rows of `tables.sections`."""
    return [text for title, rows in tables if (text := _answer(title, rows))]


def _answer(title: str, rows: Sequence[Row]) -> str:
    methods = [r for r in rows if r["method"] not in ("none", "teacher") and known(r["bev_gain"])]
    if not methods:
        return ""
    methods.sort(key=lambda row: -row["bev_gain"])
    told = methods if len(methods) <= MOST else methods[:1]
    best = "" if told is methods else f"the best of {len(methods)} methods, "
    return f"{title}: " + " ".join(f"{best}{_sentence(row, len(methods))}" for row in told)


def _sentence(row: Row, methods: int) -> str:
    gains = " and ".join(
        f"{row[f'{metric}_gain']:+.1f} {METRICS[metric]} mAP{_interval(row, metric)}"
        for metric in METRICS
    )
    seeds = f"{_seeds(len(row['seeds']))} against {len(row['none'])} of none"
    return f"{row['label']} gains {gains} over none ({seeds}). {_meaning(row, methods)}"


def _interval(row: Row, metric: str) -> str:
    low, high = (row[f"{metric}_gain_{end}"] for end in ("low", "high"))
    return f" (95 % {low:+.1f}..{high:+.1f})" if known(low) and known(high) else ""


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _meaning(row: Row, methods: int) -> str:
    """What follows from the interval, and what does not."""
    if row["bev_gain_p"] is None:
        return "How large the noise is cannot be told: the records hold no AP over drawn frames."
    if len(row["seeds"]) == len(row["none"]) == 1:
        return (
            "That interval is over frames alone. Two trainings that differ by nothing but the seed "
            "differ too, by more than most methods gain, so one seed answers nothing yet: "
            f"`kdbench sweep --methods {row['method']} --seeds 5` does."
        )
    real = sum(not is_noise(row, metric) for metric in METRICS)
    found = ("none of it", "one of the two", "both")[real] + " more than noise"
    verb = "are" if real == len(METRICS) else "is"
    looked = f" when all {methods} methods are looked at" if methods > 1 else ""
    return f"{found.replace(' more', f' {verb} more', 1).capitalize()}{looked}."

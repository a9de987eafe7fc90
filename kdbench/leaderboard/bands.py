"""AP by band as columns of a table of its own, with gains over `none`."""

from collections.abc import Sequence

from kdbench.leaderboard.columns import ABSENT, NAME, Column, known, number
from kdbench.leaderboard.rows import Row

EXPLANATION = """
AP by band: KITTI AP at moderate difficulty, mean over the classes with 20 objects or more in the
band, and the gain over `none` beside it, which has no interval. Metres are those on the ground from
the sensor, pt are LiDAR points in an object's box; visible, partly and largely (occluded) are
KITTI's levels. What is outside a band is neither a hit nor a miss. A false alarm counts in its band
of range, and in every band of occlusion and points: compare methods within a band.
""".strip().replace("\n", " ")


def band_columns(rows: Sequence[Row], metric: str) -> dict[str, Column]:
    """Title -> column of one metric, the method first, without bands of too few objects.

    Empty when no row has AP by band.
    """
    names = {
        key: name
        for row in rows
        for key, name in row["bands"].items()
        if known(row[f"{metric}_{key}"])
    }
    columns = {
        name: Column(f"{metric}_{key}", _with_gain(f"{metric}_{key}"), "AP, and gain over `none`")
        for key, name in names.items()
    }
    return NAME | columns if columns else {}


def _with_gain(key: str):
    def show(row: Row) -> str:
        text, gain = number(row.get(key), ".1f"), number(row.get(f"{key}_gain"), "+.1f")
        return text if gain == ABSENT or row["method"] == "none" else f"{text} {gain}"

    return show

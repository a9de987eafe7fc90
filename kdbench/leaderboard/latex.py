"""The leaderboard as LaTeX: one booktabs table a section, to be read in with `\\input`."""

import re
from pathlib import Path

from kdbench.leaderboard.bands import band_columns
from kdbench.leaderboard.columns import ABSENT, COLUMNS, Column, is_noise
from kdbench.leaderboard.pull_columns import pull_columns
from kdbench.leaderboard.rows import Row
from kdbench.leaderboard.tables import sections
from kdbench.storage.files import write_text

# What a page is wide enough for.
SHOWN = (
    "method", "seeds", "BEV mAP", "gain", "95 %", "3D mAP", "gain 3D", "95 % 3D", "p50", "x none",
)  # fmt: skip
CAPTION = (
    r"mAP: KITTI AP at 40 recall positions, moderate difficulty, mean over classes, in percent. "
    r"gain: over \texttt{none} with the same seeds, and its 95\,\% interval over frames and seeds; "
    r"in parentheses: no more than noise (Holm); bold: no other method ranks above. p50: latency "
    r"at batch 1 in ms ($^*$: disturbed). x none: a training step against one of \texttt{none}."
)
BEYOND = (
    "method", "worst", "worst 3D", "agree", "IoU", "rho", "D-ECE", "D-ECE 3D", "x train", "x all",
)  # fmt: skip
BEYOND_CAPTION = (
    r"worst: gain of the class that gains least. agree: detections shared with the teacher, F1 in "
    r"percent; IoU, rho: their overlap, rank correlation of their scores. D-ECE: calibration error "
    r"in percent. x train, x all: training against \texttt{none}, without and with the teacher's."
)
BAND_CAPTION = (
    r"BEV AP by band of distance, occlusion and LiDAR points, mean over classes, and gain over "
    r"\texttt{none}."
)
PULL_CAPTION = (
    r"How hard the loss pulls: parameters it reaches, its share of the length of the gradient over "
    r"these from start to end, and the cosine of its angle to detection's."
)
WAITING = 15  # tables that LaTeX is asked to keep until it finds a place for them: 18 is the most
SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
# \textquotedbl and accented letters need more than LaTeX's oldest font encoding.
PREAMBLE = r"""% In the preamble: \usepackage{booktabs} and \usepackage[T1]{fontenc}
"""


def latex(rows: list[Row]) -> str:
    """All tables; every text in them is escaped."""
    tables = [
        table
        for number, section in enumerate(sections(rows), start=1)
        for table in _tables(number, *section)
    ]
    for full in range(WAITING - 1, len(tables), WAITING):
        tables[full] += "\\clearpage\n"
    return PREAMBLE + "".join(tables)


def write_latex(rows: list[Row], folder: Path) -> Path:
    """Writes leaderboard.tex; returns its path."""
    path = folder / "leaderboard.tex"
    write_text(path, latex(rows))
    return path


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _tables(number: int, title: str, rows: list[Row]) -> list[str]:
    """The tables of one section."""
    main, beyond = ({name: COLUMNS[name] for name in names} for names in (SHOWN, BEYOND))
    tables = [
        _table(f"{number}", title, CAPTION, rows, main),
        _table(f"{number}-beyond", title, BEYOND_CAPTION, rows, beyond),
    ]
    if columns := band_columns(rows, "bev"):
        tables.append(_table(f"{number}-bands", title, BAND_CAPTION, rows, columns))
    if columns := pull_columns(rows):
        tables.append(_table(f"{number}-pull", title, PULL_CAPTION, rows, columns))
    return tables


def _table(name: str, title: str, caption: str, rows: list[Row], columns: dict[str, Column]) -> str:
    lines = [
        r"\begin{table*}[tbp]", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{3pt}",
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{escape(title)}. {caption}}}",
        rf"\label{{tab:kdbench-{name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule",
        _line(escape(column) for column in columns), r"\midrule",
        *(_line(_cell(row, *column) for column in columns.items()) for row in rows),
        r"\bottomrule", r"\end{tabular}", r"\end{table*}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _line(cells) -> str:
    return " & ".join(cells) + r" \\"


def _cell(row: Row, title: str, column: Column) -> str:
    text = column.show(row)
    if title == "method":
        return escape(text)
    cell = " ".join(_figure(part) for part in text.split())
    metric = {"gain": "bev", "gain 3D": "3d"}.get(title)
    best = metric and row[f"{metric}_rank"] == 1 and not is_noise(row, metric)
    return rf"$\mathbf{{{cell.strip('$')}}}$" if best and row[f"{metric}_gain"] > 0 else cell


def _figure(text: str) -> str:
    """A number as a formula: real minus signs, a range in brackets."""
    if text == ABSENT:
        return "--"
    if text[0].isalpha():  # the name of a class
        return escape(text)
    low, dots, high = text.partition("..")
    if dots:
        return f"[${low}$, ${high}$]"
    text = re.sub("±", r" \\pm ", escape(text))
    return f"${text.replace('*', '^*')}$"

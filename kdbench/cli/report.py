"""`kdbench report`: the leaderboard of a results folder."""

import gc
from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.options import plugin_option
from kdbench.cli.output import console, json_option, name_left_out, write_json
from kdbench.errors import KdbenchError
from kdbench.leaderboard.answer import answers
from kdbench.leaderboard.columns import EXPLANATION, known
from kdbench.leaderboard.figure import write_figure
from kdbench.leaderboard.latex import write_latex
from kdbench.leaderboard.page import Picture, Sources, write_page
from kdbench.leaderboard.reading import needed, readable
from kdbench.leaderboard.reproduced import add_notes
from kdbench.leaderboard.rows import Row, leaderboard, with_own
from kdbench.leaderboard.tables import rich_tables, sections, write_tables
from kdbench.registry import methods
from kdbench.runs import published
from kdbench.runs.applicability import detectors_for, taps_by_detector
from kdbench.runs.records import Record
from kdbench.runs.schema1 import WHAT_CHANGED
from kdbench.runs.settings import parse_budget
from kdbench.runs.spec import RunSpec
from kdbench.runs.step_costs import read_step_costs
from kdbench.runs.store import run_folder
from kdbench.runs.verified import is_verified
from kdbench.viewing.embedded import small_pictures

MOST_PICTURED = 3  # tables of a page that get pictures
MOST_NOTED = 3  # tables whose notes are printed; the files have those of all


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--budget", help="Only runs of this many times the profile's steps, such as 1/2.")
@click.option("--published", "beside", is_flag=True,
              help="Set the published rows of the same tables beside them.")  # fmt: skip
@click.option("--out", help="Folder for what is written [the results folder].")
@click.option("--figure", metavar="FILE.svg",
              help="Also draw the gains of the table with the most runs.")  # fmt: skip
@click.option("--data-root", help="Folder of the data set, for pictures in the page.")
@click.option("--pictures/--no-pictures", default=True, show_default=True,
              help="Frames from above, where detections and data are at hand.")  # fmt: skip
@plugin_option
@json_option
def report(results, budget, beside, out, figure, data_root, pictures, json_file) -> None:
    """Print the leaderboard and write it as a web page, Markdown, CSV and LaTeX."""
    # Records are trees: there are no cycles to find, and among millions of objects looking for
    # them takes a seventh of the time.
    gc.disable()
    try:
        _report(results, budget, beside, out, figure, data_root, pictures, json_file)
    finally:
        gc.enable()


def _report(results, budget, beside, out, figure, data_root, pictures, json_file) -> None:
    records = _read(results, None if budget is None else parse_budget(budget))
    step_costs = read_step_costs(Path(results))
    if beside:
        records += [_marked(r) for r in _published(records)]
        step_costs = read_step_costs(published.FOLDER) | step_costs
    rows = with_own(leaderboard(records, step_costs))
    add_notes(rows, (r for r in records if not r.get("published")), published.records())
    # What is left of a record from here on: resampled AP, most of its size, is not needed again.
    kept = ("spec", "environment", "date")
    by_hash = {r["hash"]: {key: r.get(key) for key in kept} for r in records}
    del records
    sources = Sources(
        records=by_hash,
        applicable=_applicable(),
        pictures=_pictures(rows, by_hash, data_root) if pictures else {},
        log_path=lambda run: run_folder(RunSpec.from_dict(by_hash[run]["spec"])) / "log.jsonl",
    )
    folder = Path(out or results)
    paths = [*write_tables(rows, folder), write_latex(rows, folder)]
    paths.append(write_page(rows, sources, folder))
    if figure:
        paths.append(write_figure(sections(rows), Path(figure)))
    # Only now, so that all is written even where the reader stops early, as `head` does.
    if json_file != "-":
        screen = Console()
        for table in rich_tables(rows):
            screen.print(table)
        screen.print(EXPLANATION, style="dim", markup=False)
        tables = sections(rows)
        notes = [note for _, group in tables[:MOST_NOTED] for note in group[0]["table"]["notes"]]
        for paragraph in [*(f"{note}." for note in notes), *answers(tables)]:
            screen.print(f"\n{paragraph}", markup=False)
    for path in paths:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)
    write_json(rows, json_file)


def _read(results: str, budget: float | None) -> list[Record]:
    """The records of a folder, or those of a budget; names those that cannot be read."""
    problems: list[str] = []
    records = readable(Path(results), problems, budget)
    if any("was" in record for record in records):
        console.print(f"{results}: records {WHAT_CHANGED}", soft_wrap=True, markup=False)
    name_left_out(problems)
    if problems:
        console.print(f"{len(problems)} files of {results} were left out", markup=False)
    if not records:
        what = "records" if budget is None else f"records of budget {budget:g}"
        raise KdbenchError(f"{results}: no {what} in it; `kdbench run` makes them")
    return records


def _published(own: list[Record]) -> list[Record]:
    """The published records, without those of runs that are in the user's own results."""
    if any("was" in record for record in own):
        console.print("published rows are of today's protocol: an older one has none of them")
    known = {record["hash"] for record in own}
    found = [record for record in published.records() if record["hash"] not in known]
    if not found:
        console.print("nothing is published of other runs than these", markup=False)
    return found


def _marked(record: Record) -> Record:
    """A published record as a leaderboard takes it, and whether the maintainers vouch for it."""
    vouched = is_verified(record)  # before anything is left out of it
    return needed(record) | {"published": True, "verified": vouched}


def _applicable() -> dict[str, list[str]]:
    """Method -> detectors that can take it; without plugins that fail to load."""
    found = {}
    try:
        taps = taps_by_detector()
        for name in methods.names():
            found[name] = detectors_for(name, taps)
    except KdbenchError as error:
        console.print(f"no word on what is applicable: {error}", soft_wrap=True, markup=False)
    return found


def _pictures(rows: list[Row], records: dict[str, Record], data_root) -> dict[str, list[Picture]]:
    """Pictures of the best method of the first tables that have any."""
    found: dict[str, list[Picture]] = {}
    for title, group in sections(rows):
        students = [r for r in group if r["method"] not in ("none", "teacher")]
        best = max((r for r in students if known(r["bev_map"])), key=_accuracy, default=None)
        if best is None or len(found) == MOST_PICTURED:
            continue
        spec = RunSpec.from_dict(records[best["hashes"][0]]["spec"])
        try:
            made = small_pictures(spec, data_root)
        except KdbenchError as error:
            console.print(f"no pictures of {spec.label}: {error}", soft_wrap=True, markup=False)
            continue
        if made:
            found[title] = [Picture(caption, png) for caption, png in made]
    return found


def _accuracy(row: Row) -> float:
    return row["bev_map"]

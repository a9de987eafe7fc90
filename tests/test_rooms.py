"""The house as its imports show it: rooms on floors, arrows that point down, none forgotten."""

import ast
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {
    "kdbench": "kdbench",
    "methods": "kdbench/methods",
    "detectors": "kdbench/detectors",
    "datasets": "kdbench/datasets",
    "results/published": "kdbench/published",
}
# What stands on which floor: a room may import from rooms below it alone.
FLOORS = (
    {"errors", "kdbench", "published"},
    {"storage", "taps"},
    {"geometry"},
    {"classes", "ops"},
    {"class_table", "dataset"},
    {"detector", "method"},
    {"evaluation", "measure", "registry"},
    {"datasets", "detectors", "methods", "runs"},
    {"imports", "leaderboard", "training"},
    {"export", "interface", "sweep", "viewing"},
    {"cli"},
    {"__main__"},
)
LONGEST = 320  # lines of a file that a person reads in one sitting


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module, as it is imported."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (REPOSITORY / folder).rglob("*.py"):
            place = Path(package) / path.relative_to(REPOSITORY / folder)
            found[".".join(place.with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def room(module: str) -> str:
    """`kdbench.ops.fold` -> `ops`; a module at the root is a room of its own."""
    return module.split(".")[min(1, module.count("."))]


def imported(path: Path, known) -> set[str]:
    """Modules of kdbench that a file imports, anywhere in it, when it runs."""
    found = set()
    tree = ast.parse(path.read_text())
    # The public names of `kdbench/__init__.py`: imported when they are used, seen by type checkers.
    tree.body = [node for node in tree.body if not _for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "kdbench"}


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def arrows() -> dict[str, set[str]]:
    """Room -> rooms that it imports from."""
    found, known = defaultdict(set), modules()
    for module, path in known.items():
        found[room(module)] |= {room(target) for target in imported(path, known)} - {room(module)}
    return dict(found)


def test_every_room_stands_on_a_floor():
    assert set(arrows()) == set().union(*FLOORS)


def test_imports_point_down():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    upward = {
        f"{start} -> {end}"
        for start, ends in arrows().items()
        for end in ends
        if floor[start] <= floor[end]
    }
    assert not upward


def test_a_floor_is_as_low_as_it_can_be():
    graph = arrows()

    @cache
    def lowest(name: str) -> int:
        return max((lowest(end) + 1 for end in graph[name]), default=0)

    assert [{name for name in graph if lowest(name) == n} for n in range(len(FLOORS))] == list(
        FLOORS
    )


def test_plugins_do_not_import_each_other_nor_the_loop():
    known = modules()
    for kind in ("methods", "detectors", "datasets"):
        for module, path in known.items():
            if room(module) != kind:
                continue
            rooms = {room(target) for target in imported(path, known)}
            assert not rooms & ({"methods", "detectors", "datasets", "training", "cli"} - {kind})


def test_a_wheel_holds_every_room():
    """A package that `pyproject.toml` forgets is there when installed editable, and else is not."""
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = modules().items()
    packages = {n if p.stem == "__init__" else n.rpartition(".")[0] for n, p in found}
    assert packages == set(listed["packages"])


def test_files_can_be_read_in_one_sitting():
    long = {name for name, p in modules().items() if p.read_text().count("\n") > LONGEST}
    assert not long

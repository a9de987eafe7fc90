"""Whether an imported network computes what its own project does."""

from dataclasses import replace

import torch

from kdbench.errors import DataError
from kdbench.imports.anchor_arrays import anchor_arrays
from kdbench.imports.cases import Case
from kdbench.imports.center_arrays import center_arrays
from kdbench.imports.compare import Row, compare, is_place, sampled
from kdbench.imports.network import Imported, assemble
from kdbench.imports.point_arrays import point_arrays
from kdbench.registry.suggest import unknown

ARRAYS = {
    "pointpillars": anchor_arrays,
    "second": anchor_arrays,
    "centerpoint": center_arrays,
    "pointrcnn": point_arrays,
}


@torch.no_grad()
def check_case(imported: Imported, case: Case) -> list[Row]:
    """A row for each array of a case.

    Raises DataError for an array that is not known here, and for one of a larger map.
    """
    try:
        return _rows(imported, case)
    except IndexError:
        raise DataError(
            f"{case.name}: names places that this network does not have; is it a case of it?"
        ) from None


def _rows(imported: Imported, case: Case) -> list[Row]:
    if case.options:
        options = imported.spec.options | case.options
        spec = replace(imported.spec, options=options)
        imported = assemble(imported.file, spec, imported.settings)
    places = {name for name in case.arrays if is_place(name)}
    found = ARRAYS[imported.spec.name](imported, case.points, case.arrays)
    if strange := [name for name in case.arrays if name not in places | set(found)]:
        raise DataError(f"{case.name}: {unknown('array', strange[0], found)}")
    return [
        compare(case.name, name, expected, sampled(name, found[name], case.arrays))
        for name, expected in case.arrays.items()
        if name not in places
    ]


def failures(rows: list[Row]) -> str:
    """The comparisons that failed in words, the worst first; empty when there are none."""
    bad = sorted((row for row in rows if not row.ok), key=lambda row: -max(row.error))
    return ", ".join(f"{row.case} {row.array} {max(row.error):.2g} {row.unit}" for row in bad[:4])

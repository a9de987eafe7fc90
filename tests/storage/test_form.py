"""Forms of plain values: what does not fit is named by its place."""

import math

import pytest

from kdbench.storage.form import NUMBER, Each, Maybe, OrNone, misfit

FORM = {"name": str, "found": Each([NUMBER]), "step": Maybe(int)}
GOOD = {"name": "a", "found": {"x": [1, 2.5], "y": []}, "other": object()}


def test_what_fits_has_no_misfit():
    assert misfit(GOOD, FORM) is None
    assert misfit(GOOD | {"step": 3}, FORM) is None
    assert misfit(GOOD | {"step": None}, FORM) is None


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": None}, "name is no str"),
        ({"name": 3}, "name is no str"),
        ({"found": [1]}, "found is no dictionary"),
        ({"found": {"x": 1}}, "found.x is no list"),
        ({"found": {"x": [1, True]}}, "found.x[1] is no number"),
        ({"found": {"x": [math.nan]}}, "found.x[0] is no number"),
        ({"found": {"x": [10**400]}}, "found.x[0] is no number"),
        ({"step": 2.0}, "step is no int"),
        ({"step": 2**70}, "step is no int"),
    ],
)
def test_a_misfit_is_named(changed, problem):
    assert misfit(GOOD | changed, FORM) == problem


def test_a_key_that_is_absent_and_what_is_no_dictionary_at_all():
    assert misfit({"name": "a"}, FORM) == "found is absent"
    assert misfit([], FORM) == "it is no dictionary"


def test_what_may_be_none_may_not_be_absent():
    form = {"a": OrNone(int)}
    assert misfit({"a": None}, form) is None
    assert misfit({}, form) == "a is absent"

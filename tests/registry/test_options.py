"""Options of plugins: completed from defaults, brought to their types, or refused."""

import pytest

from kdbench.errors import UsageError
from kdbench.registry.options import coerce, complete, defaults_of


class Plugin:
    def __init__(
        self,
        student,
        ratio=1.0,
        *,
        rate=0.5,
        count=3,
        tap="neck",
        on=True,
        size=(1.0, 2.0),
        path=None,
    ):
        pass


class WithVariants:
    variants = ("paper", "released")

    def __init__(self, student, teacher, *, variant="paper"):
        pass


DEFAULTS = {
    "rate": 0.5, "count": 3, "tap": "neck", "on": True, "size": [1.0, 2.0], "path": None,
}  # fmt: skip


def test_options_are_the_keyword_only_arguments():
    assert defaults_of(Plugin) == DEFAULTS
    assert defaults_of(object) == {}


def test_what_is_left_out_keeps_its_default():
    given = {"count": 7}
    assert complete("method 'x'", Plugin, given) == DEFAULTS | given
    assert given == {"count": 7}


@pytest.mark.parametrize("name", ["student", "ratio", "contained"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UsageError, match=f"unknown option of method 'x' '{name}'"):
        complete("method 'x'", Plugin, {name: 1})


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'count'"):
        complete("method 'x'", Plugin, {"cuont": 1})


def test_a_wrong_type_names_the_plugin_and_the_option():
    with pytest.raises(UsageError, match="method 'x': option count: 'many' is not of type int"):
        complete("method 'x'", Plugin, {"count": "many"})


@pytest.mark.parametrize(
    "value, default, expected",
    [
        (2, 0.5, 2.0),
        ("1e-3", 0.5, 0.001),
        (0.25, 0.5, 0.25),
        (4, 3, 4),
        ("voxel", "neck", "voxel"),
        (False, True, False),
        ((1, 2), [0], [1, 2]),
        ([1, "1e-3"], [0.5], [1.0, 0.001]),
        ([1, 2], [0.5, 0.5, 0.5], [1.0, 2.0]),
        ([], [0], []),
        ([1, ("a", 3)], [], [1, ["a", 3]]),
        ([(1, 2), (3,)], ((0.5,),), [[1.0, 2.0], [3.0]]),
        ("anything", None, "anything"),
        ((1, 2), None, [1, 2]),
        (None, None, None),
    ],
)
def test_coerce(value, default, expected):
    found = coerce("x", value, default)
    assert repr(found) == repr(expected)  # 1 and 1.0 are different runs


@pytest.mark.parametrize(
    "value, default",
    [
        (True, 0.5), ("fast", 0.5), (None, 0.5), ([1.0], 0.5),
        (1.5, 3), (2.0, 3), (True, 3), ("4", 3), (None, 3),
        (1, True), ("true", True),
        (1, "neck"), (None, "neck"),
        (1, [0]), ("1,2", [0]), (None, [0]),
    ],
)  # fmt: skip
def test_coerce_refuses_another_type(value, default):
    with pytest.raises(UsageError, match=f"is not of type {type(default).__name__}"):
        coerce("x", value, default)


def test_an_item_of_another_type_is_refused():
    with pytest.raises(UsageError, match="'far' is not of type float"):
        coerce("x", [0.0, "far"], [0.5])


def test_the_first_variant_is_the_default_and_others_can_be_asked_for():
    assert complete("method 'x'", WithVariants, {}) == {"variant": "paper"}
    assert complete("method 'x'", WithVariants, {"variant": "released"}) == {"variant": "released"}


def test_an_unknown_variant_suggests_the_nearest():
    with pytest.raises(UsageError, match="unknown variant of method 'x' 'relesed'.*'released'"):
        complete("method 'x'", WithVariants, {"variant": "relesed"})

"""Names, wildcards and alternatives of taps."""

import pytest

from kdbench.errors import NotApplicable, UsageError
from kdbench.taps import Kind, LazyTaps, TapSpec, choose, find, missing, require

SPECS = {
    "voxel": TapSpec(Kind.ROWS, 64),
    "backbone.0": TapSpec(Kind.BEV, 64),
    "backbone.1": TapSpec(Kind.BEV, 128),
    "neck": TapSpec(Kind.BEV, 384),
    "head.cls": TapSpec(Kind.CLS, 3),
}


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("voxel", ["voxel"]),
        ("backbone.*", ["backbone.0", "backbone.1"]),
        ("backbone.1", ["backbone.1"]),
        ("backbone", []),
        ("Voxel", []),
        ("*", list(SPECS)),
        ("points|voxel", ["voxel"]),
        ("backbone.*|voxel", ["backbone.0", "backbone.1"]),
        ("points|proposals", []),
        ("", []),
    ],
)
def test_find(pattern, names):
    assert find(pattern, SPECS) == names


def test_find_keeps_the_order_of_the_detector():
    turned = dict(reversed(SPECS.items()))
    assert find("backbone.*", turned) == ["backbone.1", "backbone.0"]


def test_missing_names_the_patterns_without_a_tap():
    assert missing(("voxel", "points", "backbone.*", "a|b"), SPECS) == ["points", "a|b"]
    assert missing((), SPECS) == []


def test_require_passes_when_all_is_there():
    # It says no by raising NotApplicable.
    assert require("kd", ("head.cls", "points|voxel"), "pointpillars", SPECS) is None
    assert require("none", (), "anything", {}) is None


def test_require_says_what_is_absent_and_what_there_is():
    with pytest.raises(NotApplicable) as error:
        require("pkd", ("voxel", "proposals"), "pointpillars", SPECS)
    message = str(error.value)
    assert "'pkd' is not applicable: needs proposals;" in message
    assert message.endswith("'pointpillars' provides voxel, backbone.0, backbone.1, neck, head.cls")


def test_choose_gives_taps_of_the_kinds_asked_for():
    assert choose("backbone.*", SPECS, Kind.BEV) == ["backbone.0", "backbone.1"]
    assert choose("voxel", SPECS, Kind.BEV, Kind.ROWS) == ["voxel"]


@pytest.mark.parametrize("pattern", ["nek", "voxel", "*", "head.cls"])
def test_choose_refuses_no_tap_and_taps_of_other_kinds(pattern):
    with pytest.raises(UsageError, match="among backbone.0, backbone.1, neck$"):
        choose(pattern, SPECS, Kind.BEV)


class Around:
    """Counts how often it is entered."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        return self

    def __enter__(self):
        self.times += 1

    def __exit__(self, *_):
        return False


def lazily(ran):
    def stages():
        for i, stage in enumerate(({"a": 1, "b": 2}, {"c": 3}, {"_own": 4})):
            ran.append(i)
            yield stage

    around = Around()
    return LazyTaps(stages(), dict.fromkeys("abc"), around), around


def test_stages_run_when_one_of_theirs_is_read_and_once():
    ran = []
    taps, around = lazily(ran)
    assert list(taps) == ["a", "b", "c"] and len(taps) == 3 and "c" in taps and "d" not in taps
    assert ran == []
    assert taps["b"] == 2 and taps["a"] == 1 and ran == [0]
    assert taps["c"] == 3 and ran == [0, 1] and around.times == 2
    assert taps["_own"] == 4 and ran == [0, 1, 2]


def test_a_tap_that_there_is_not_is_a_key_error_and_runs_nothing():
    ran = []
    taps, _ = lazily(ran)
    with pytest.raises(KeyError):
        taps["d"]
    assert ran == [] and taps.get("d") is None
    with pytest.raises(KeyError):
        taps["_other"]


def test_lazy_taps_join_dictionaries():
    taps, _ = lazily([])
    assert taps | {"a": 9} == {"a": 9, "b": 2, "c": 3}
    assert {"z": 0} | taps == {"z": 0, "a": 1, "b": 2, "c": 3}

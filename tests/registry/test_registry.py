"""Plugins: built in, from entry points, and from a file."""

from importlib.metadata import EntryPoint

import pytest

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.method import Method
from kdbench.methods.kd import LogitDistillation
from kdbench.registry import Registry, load_plugin
from kdbench.registry import plugins as registry
from kdbench.registry.options import complete

BUILTIN = [(r, name) for r in (registry.methods, registry.detectors, registry.datasets)
           for name in r.names()]  # fmt: skip
builtin = pytest.mark.parametrize("kind, name", BUILTIN, ids=[f"{r.what}-{n}" for r, n in BUILTIN])


class Mine(Method):
    name = "mine"


# Built in


@builtin
def test_what_is_built_in_loads_under_its_name(kind, name):
    plugin = kind.get(name)
    assert issubclass(plugin, kind.base)
    assert plugin.name == name
    assert kind.get(name) is plugin


@builtin
def test_the_default_options_of_what_is_built_in_are_valid(kind, name):
    plugin = kind.get(name)
    defaults = complete(name, plugin, {})
    assert complete(name, plugin, defaults) == defaults
    variants = getattr(plugin, "variants", ())
    assert not variants or defaults["variant"] == variants[0]


def test_the_first_plugins_are_there():
    assert {"none", "kd", "fitnet", "at", "pointdistiller"} <= set(registry.methods.names())
    assert "pointpillars" in registry.detectors.names()
    assert {"kitti", "synthetic"} <= set(registry.datasets.names())


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="unknown method 'fitnets'; did you mean 'fitnet'"):
        registry.methods.get("fitnets")
    with pytest.raises(UsageError, match=r"unknown detector 'x' \(there is: .*pointpillars"):
        registry.detectors.get("x")


def test_a_module_that_fails_to_import_is_named():
    broken = Registry("method", Method, {"gone": "kdbench.methods.gone"})
    assert broken.names() == ["gone"]
    with pytest.raises(UsageError, match="method 'gone' fails to import from kdbench.methods.gone"):
        broken.get("gone")


def test_a_module_without_a_plugin_says_so():
    empty = Registry("method", Method, {"taps": "kdbench.taps"})
    with pytest.raises(UsageError, match="defines 0 Method classes with a name"):
        empty.get("taps")


def test_a_plugin_under_another_name_than_its_own_is_refused():
    wrong = Registry("method", Method, {"hinton": "kdbench.methods.kd"})
    with pytest.raises(UsageError, match="method 'hinton'.*`name`"):
        wrong.get("hinton")


# Added


def test_an_added_class_is_found():
    mine = Registry("method", Method, {})
    mine.add(Mine)
    assert mine.names() == ["mine"]
    assert mine.get("mine") is Mine


def test_a_name_that_is_taken_is_an_error():
    taken = Registry("method", Method, {"mine": "somewhere"})
    with pytest.raises(UsageError, match="method 'mine' is registered twice"):
        taken.add(Mine)


# Entry points


@pytest.fixture
def installed(monkeypatch):
    """Entry points that installed packages seem to have: a list to append (name, value) to."""
    points = []

    def entry_points(group):
        return [EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return points


def test_an_entry_point_is_loaded_when_asked_for(installed):
    installed += [("kd", "kdbench.methods.kd:LogitDistillation"), ("broken", "no.such.module:X")]
    found = Registry("method", Method, {})
    assert found.names() == ["broken", "kd"]
    assert found.get("kd") is LogitDistillation
    with pytest.raises(UsageError, match="'broken' fails to import from no.such.module:X"):
        found.get("broken")


@pytest.mark.parametrize("value", ["kdbench.taps:Rows", "kdbench.taps:find"])
def test_an_entry_point_that_is_no_plugin_is_refused(installed, value):
    installed.append(("rows", value))
    with pytest.raises(UsageError, match="is not a Method"):
        Registry("method", Method, {}).get("rows")


def test_an_entry_point_with_the_name_of_a_builtin_is_an_error(installed):
    installed.append(("kd", "elsewhere:KD"))
    with pytest.raises(UsageError, match="'kd' is registered twice.*elsewhere:KD"):
        Registry("method", Method, {"kd": "kdbench.methods.kd"}).names()


def test_two_entry_points_of_one_name_are_an_error(installed):
    installed += [("kd", "here:KD"), ("kd", "elsewhere:KD")]
    with pytest.raises(UsageError, match="'kd' is registered twice.*elsewhere:KD"):
        Registry("method", Method, {}).names()


def test_a_class_with_the_name_of_an_entry_point_is_an_error(installed):
    installed.append(("mine", "elsewhere:Mine"))
    with pytest.raises(UsageError, match="registered twice"):
        Registry("method", Method, {}).add(Mine)


# Files

PLUGIN = """
from kdbench.method import Method
from kdbench.methods.kd import LogitDistillation  # imported, not defined here

class Base(Method):
    pass

class First(Base):
    name = "first"

class Second(LogitDistillation):
    name = "second"
"""


@pytest.fixture
def registries(monkeypatch):
    """Empty registries in place of the real ones."""
    bases = {"methods": Method, "detectors": Detector, "datasets": Dataset}
    for name, base in bases.items():
        monkeypatch.setattr(registry, name, Registry(name[:-1], base, {}))
    return registry


@pytest.fixture
def plugin(tmp_path):
    def write(text):
        path = tmp_path / "my_plugin.py"
        path.write_text(text)
        return path

    return write


def test_a_file_registers_the_named_classes_it_defines(registries, plugin):
    assert load_plugin(plugin(PLUGIN)) == ["first", "second"]
    assert registries.methods.names() == ["first", "second"]
    assert registries.methods.get("first").__name__ == "First"


def test_a_file_may_hold_plugins_of_every_kind(registries, plugin):
    text = "".join(
        f"from kdbench.{base.lower()} import {base}\nclass My{base}({base}): name = 'mine'\n"
        for base in ("Method", "Detector", "Dataset")
    )
    assert load_plugin(str(plugin(text))) == ["mine"] * 3
    assert registries.detectors.get("mine").__name__ == "MyDetector"
    assert registries.datasets.get("mine").__name__ == "MyDataset"


def test_a_file_loaded_twice_is_an_error(registries, plugin):
    path = plugin(PLUGIN)
    load_plugin(path)
    with pytest.raises(UsageError, match="method 'first' is registered twice"):
        load_plugin(path)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("raise ValueError('no luck')", "fails to import: ValueError: no luck"),
        ("import no_such_module", "fails to import: ModuleNotFoundError"),
        ("def broken(:", "fails to import: SyntaxError"),
        ("x = 1", "defines no Method, Detector or Dataset with a name"),
        ("from kdbench.methods.kd import LogitDistillation", "defines no Method"),
    ],
)
def test_a_bad_file_is_named(registries, plugin, text, complaint):
    with pytest.raises(UsageError, match=f"my_plugin.py.*{complaint}"):
        load_plugin(plugin(text))


def test_a_file_that_is_absent_or_not_python_is_named(registries, tmp_path):
    with pytest.raises(UsageError, match="gone.py: no such file"):
        load_plugin(tmp_path / "gone.py")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match="notes.txt: not a Python file"):
        load_plugin(tmp_path / "notes.txt")


# What a plugin must keep to


@pytest.mark.parametrize(
    "name",
    ["my/method", "../outside", "a\\b", "a b", ".hidden", "-x", "a+b", "", "ä", "dot.", "a:b",
     "CON", "nul.txt", "a\n", "x" * 65, "all", 3, None],
)  # fmt: skip
def test_a_name_that_is_no_plain_one_is_refused(registries, plugin, name):
    text = f"from kdbench.method import Method\nclass M(Method): name = {name!r}\n"
    with pytest.raises(UsageError) as error:
        load_plugin(plugin(text))
    assert repr(name) in str(error.value) and "my_plugin.py" in str(error.value)


@pytest.mark.parametrize("name", ["kd", "My_method-2.1", "3d", "console", "x" * 64])
def test_plain_names_are_taken(registries, plugin, name):
    text = f"from kdbench.method import Method\nclass M(Method): name = {name!r}\n"
    assert load_plugin(plugin(text)) == [name]


def test_an_entry_point_with_another_name_than_a_plain_one_is_refused(installed, monkeypatch):
    monkeypatch.setattr(LogitDistillation, "name", "a/b")
    installed.append(("a/b", "kdbench.methods.kd:LogitDistillation"))
    with pytest.raises(UsageError, match=r"method 'a/b' \(kdbench.methods.kd:.*goes into paths"):
        Registry("method", Method, {}).get("a/b")


def test_a_name_that_differs_by_case_alone_is_taken():
    taken = Registry("method", Method, {"MINE": "somewhere"})
    with pytest.raises(UsageError, match="'mine' is registered twice.*as 'MINE', but for case"):
        taken.add(Mine)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("weight", "option 'weight' has no default; give it one"),
        ("weight=object", "the default of option 'weight' is <class 'object'>; it must be plain"),
        ("weight=float('inf')", "the default of option 'weight' is inf"),
    ],
)
def test_an_option_without_a_plain_default_is_refused(registries, plugin, option, message):
    text = (
        "from kdbench.method import Method\nclass M(Method):\n    name = 'mine'\n"
        f"    def __init__(self, student, teacher, *, {option}): ...\n"
    )
    with pytest.raises(UsageError, match=message):
        load_plugin(plugin(text))


def test_a_variant_that_is_no_plain_name_is_refused(registries, plugin):
    text = "from kdbench.method import Method\nclass M(Method): name, variants = 'm', ('a/b',)\n"
    with pytest.raises(UsageError, match="method 'm': variant 'a/b'"):
        load_plugin(plugin(text))

"""One registry for methods, detectors and data sets.

A plugin is a class of the contract with a `name`. It is found in three places: built in,
as an entry point of an installed package, or in a file given with `--plugin`. Built-in plugins
and entry points are imported only when asked for.
"""

import importlib
import importlib.util
import pkgutil
import sys
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.method import Method
from kdbench.registry.combination import SIGN, combination
from kdbench.registry.contract import check_own_name, check_plugin
from kdbench.registry.suggest import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes of one contract."""

    def __init__(self, what: str, base: type[T], builtins: dict[str, str]):
        self.what = what  # "method", "detector" or "dataset"
        self.base = base
        self._found: dict[str, str | EntryPoint | type[T]] = dict(builtins)
        self._scanned = False

    def names(self) -> list[str]:
        """All known names, sorted."""
        self._scan_entry_points()
        return sorted(self._found)

    def get(self, name: str) -> type[T]:
        """The class called `name`. Raises UsageError when it is unknown or fails to import."""
        self._scan_entry_points()
        if name not in self._found:
            raise UsageError(unknown(self.what, name, self._found))
        found = self._found[name]
        if not isinstance(found, type):
            found = self._load(name, found)
            self._found[name] = found
        return found

    def add(self, plugin: type[T], where: object = "") -> None:
        """Registers a class of the file `where`.

        Raises UsageError for a name that is taken, and for what breaks `contract.py`.
        """
        self._scan_entry_points()
        check_plugin(self.what, plugin, where or plugin.__module__)
        self._claim(plugin.name, plugin, where or plugin.__module__)

    def check_free(self, name: str, where: object) -> None:
        """Raises UsageError for a name that a plugin cannot have, or that one has."""
        self._scan_entry_points()
        check_own_name(self.what, name, where)
        self._check_untaken(name, where)

    def _claim(self, name: str, found: EntryPoint | type[T], where: object) -> None:
        self._check_untaken(name, where)
        self._found[name] = found

    def _check_untaken(self, name: str, where: object) -> None:
        """A name that differs by case alone from another is the same file on some systems."""
        known = {other.casefold(): other for other in self._found}
        if taken := known.get(name.casefold()):
            here = "" if taken == name else f" (as {taken!r}, but for case)"
            raise UsageError(
                f"{self.what} {name!r} is registered twice: the name is taken{here}, and {where} "
                "gives it again"
            )

    def _load(self, name: str, found: str | EntryPoint) -> type[T]:
        try:
            if isinstance(found, EntryPoint):
                plugin = found.load()
            else:
                plugin = self._only_class(importlib.import_module(found))
        except Exception as error:
            where = found if isinstance(found, str) else found.value
            raise UsageError(
                f"{self.what} {name!r} fails to import from {where}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not (isinstance(plugin, type) and issubclass(plugin, self.base)):
            raise UsageError(f"{self.what} {name!r}: {plugin!r} is not a {self.base.__name__}")
        if getattr(plugin, "name", None) != name:
            raise UsageError(f"{self.what} {name!r}: {plugin!r} must have that as its `name`")
        check_plugin(self.what, plugin, found if isinstance(found, str) else found.value)
        return plugin

    def _only_class(self, module) -> type[T]:
        found = classes_in(module, self.base)
        if len(found) != 1:
            what = f"{self.base.__name__} classes with a name"
            raise ImportError(f"defines {len(found)} {what}, not 1")
        return found[0]

    def _scan_entry_points(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=f"kdbench.{self.what}s"):
            self._claim(point.name, point, f"an installed package ({point.value})")


class MethodRegistry(Registry[Method]):
    """Methods, and combinations of them: `kd+pointdistiller`."""

    def get(self, name: str) -> type[Method]:
        """The method called `name`, in a combination the parts in any order."""
        get = super().get
        if SIGN not in name:
            return get(name)
        name = SIGN.join(sorted(name.split(SIGN)))  # one class, and one run, for all orders
        if name not in self._combined:
            self._combined[name] = combination([get(part) for part in name.split(SIGN)])
        return self._combined[name]

    @cached_property
    def _combined(self) -> dict[str, type[Method]]:
        return {}


def classes_in(module, base: type) -> list[type]:
    """The classes of a contract that a module defines itself and names."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    ]


def _modules_of(package: str) -> dict[str, str]:
    """Plugin name -> module, for a package that holds one plugin a file."""
    path = importlib.import_module(package).__path__
    return {
        info.name.replace("_", "-"): f"{package}.{info.name}"
        for info in pkgutil.iter_modules(path)
        if not info.ispkg
    }


methods: Registry[Method] = MethodRegistry("method", Method, _modules_of("kdbench.methods"))
detectors: Registry[Detector] = Registry("detector", Detector, _modules_of("kdbench.detectors"))
datasets: Registry[Dataset] = Registry(
    "dataset",
    Dataset,
    {"kitti": "kdbench.datasets.kitti", "synthetic": "kdbench.datasets.synthetic.dataset"},
)


def load_plugin(path: Path | str) -> list[str]:
    """Imports a file and registers every plugin class in it; returns their names.

    Raises UsageError when the file is missing, fails to import, or holds no plugin.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"plugin {path}: no such file")
    module_name = f"kdbench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None:
        raise UsageError(f"plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"plugin {path} fails to import: {type(error).__name__}: {error}"
        ) from error
    names = []
    for registry in (methods, detectors, datasets):
        for plugin in classes_in(module, registry.base):
            registry.add(plugin, path)
            names.append(plugin.name)
    if not names:
        raise UsageError(f"plugin {path}: defines no Method, Detector or Dataset with a name")
    return names

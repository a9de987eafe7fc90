"""What kdbench requires, by its own metadata, and what of it is installed."""

import importlib
import platform
from importlib import metadata

from packaging.requirements import Requirement

import kdbench

BUILT_AGAINST_TORCH = {"torch-scatter"}  # compile from source, and import torch to do so
COMPILED = ("numba", "scipy", "matplotlib")  # break when numpy is changed beneath them


def versions(problems: list[str]) -> dict[str, str]:
    """Versions of Python and of what every run needs; what is absent or broken is a problem."""
    found = {"python": platform.python_version(), "kdbench": kdbench.__version__}
    for requirement in _of(""):
        version = _installed(requirement)
        found[requirement.name] = version or "absent"
        if version is None:
            problems.append(f"{requirement.name} is absent: {_command(requirement)}")
    for module in COMPILED:
        try:
            importlib.import_module(module)
        except Exception as error:
            problems.append(f"{module} fails to import: {type(error).__name__}: {error}")
    return found


def extras() -> dict[str, dict[str, str]]:
    """Extra -> its packages -> version, or the command that installs it."""
    names = metadata.metadata("kdbench").get_all("Provides-Extra") or []
    return {
        extra: {r.name: _installed(r) or f"absent; {_command(r)}" for r in _of(extra)}
        for extra in names
    }


def _of(extra: str) -> list[Requirement]:
    """What an extra adds on this platform; of the extra "", what is always required."""
    found = []
    for text in metadata.requires("kdbench") or []:
        requirement = Requirement(text)
        conditional = requirement.marker is not None and "extra" in str(requirement.marker)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if wanted and conditional == bool(extra):
            found.append(requirement)
    return found


def _command(requirement: Requirement) -> str:
    isolation = "--no-build-isolation " if requirement.name in BUILT_AGAINST_TORCH else ""
    return f"pip install {isolation}'{requirement.name}{requirement.specifier}'"


def _installed(requirement: Requirement) -> str | None:
    """The installed version, with a remark when it is not one of those asked for."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None
    fits = requirement.specifier.contains(version, prereleases=True)
    return version if fits else f"{version} (kdbench asks for {requirement.specifier})"

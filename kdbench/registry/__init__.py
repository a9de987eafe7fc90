"""What plugins there are, their options, and messages for names that are unknown."""

from kdbench.registry.plugins import Registry, datasets, detectors, load_plugin, methods

__all__ = ["Registry", "datasets", "detectors", "load_plugin", "methods"]

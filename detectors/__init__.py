"""Detectors, one file each; parts they share stand in `layers`."""

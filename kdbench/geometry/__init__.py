"""Geometry: boxes, rotated IoU, non-maximum suppression, calibration."""

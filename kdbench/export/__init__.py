"""Trained detectors as files that run without kdbench, and proof that they compute the same."""

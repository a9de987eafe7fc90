"""Parts that detectors share."""

"""Pictures of single frames: points, ground truth and detections."""

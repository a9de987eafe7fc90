"""Evaluation: KITTI average precision on the CPU."""

"""Training: the loop, the teacher cache, checkpoints and schedules."""

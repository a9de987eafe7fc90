"""Networks trained elsewhere: public checkpoints read into kdbench's detectors."""

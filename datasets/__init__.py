"""Data sets, one file each, with the augmentation they share."""

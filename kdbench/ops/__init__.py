"""Operators: voxelisation, scatter, neighbours."""

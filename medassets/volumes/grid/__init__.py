"""Voxel grids: geometry, Hounsfield units, resampling, rounding."""

"""Confidence bounds, radii, sequential tests and sample plans: NumPy and SciPy only."""

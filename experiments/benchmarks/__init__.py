"""Measurements of speed and memory; ratios of medians from one run."""

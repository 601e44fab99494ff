"""Randomized smoothing in the latent space: sampling, statistics, certificates."""

"""Random streams, noise, and the votes of a head over noisy copies of a latent."""

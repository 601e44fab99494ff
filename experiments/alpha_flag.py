"""The flag of the error probability."""

from absl import flags

flags.DEFINE_float("alpha", 0.001, "Probability, at most, that a certificate is wrong.")

"""Flags of the commands that certify, or write what certifies."""

from absl import flags

from experiments import alpha_flag

flags.DEFINE_integer("n0", 100, "Noisy samples that select the class to certify.", lower_bound=1)
flags.DEFINE_integer(
    "n",
    100_000,
    "Noisy samples that estimate the probability of the selected class.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "certify_batch_size", 256, "Noisy samples in one pass of the head.", lower_bound=1
)
flags.adopt_module_key_flags(alpha_flag)

"""The flag of the commands that choose the kind of noise."""

from absl import flags

from lsrs_tf.smoothing.noise_models import NOISE_MODELS

flags.DEFINE_enum(
    "noise",
    "float32",
    NOISE_MODELS,
    "float32: customary noise, whose rounding is not in the proof; exact: noise on a grid, for "
    "which certificates hold to the last bit.",
)

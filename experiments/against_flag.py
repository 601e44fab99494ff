"""The flag of the commands that turn votes into radii."""

from absl import flags

from lsrs_tf.smoothing.settings import AGAINST

flags.DEFINE_enum(
    "against",
    "half",
    AGAINST,
    "half: radii by which a class keeps more than half of the votes; runner_up, for "
    "--method=fixed: by which it keeps more than any other class.",
)

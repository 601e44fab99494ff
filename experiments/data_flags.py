"""Flags of the commands that read a data set."""

from absl import flags

flags.DEFINE_string("data_dir", None, "Folder of tensorflow-datasets; None means its own default.")
flags.DEFINE_boolean("download", False, "Let tensorflow-datasets fetch a data set that is missing.")
flags.DEFINE_integer("seed", 0, "Seed of initial weights, shuffling and certification noise.")
flags.DEFINE_integer(
    "num_images", None, "Test images to certify, spread evenly over the test set; None means all."
)

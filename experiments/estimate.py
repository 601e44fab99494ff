"""Estimates how far the nearest adversarial examples of test images are, by CLEVER scores.

One row per image goes to a tab-separated file as soon as it is known. When the command is
interrupted and given again, it goes on where it was. The report shows the estimates between
certified radii and distances of attacks, where the certificates are of the base classifier. They
prove nothing.

    python -m experiments.estimate --run_dir=runs/digits_margin --num_images=50
    python -m experiments.report runs/digits_margin
"""

from absl import flags

from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.estimated_test_set import estimate_test_images
from experiments.run_directory import RunDirectory
from lsrs_tf.records.estimates import IN_A_FOLDER

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_string("outfile", None, "File to write; by default estimated.tsv in --run_dir.")
flags.DEFINE_string("shard", None, "Part of the test images, such as 2/4 for the second of four.")
flags.DEFINE_float(
    "estimate_radius",
    2.0,
    "L2 radius of the ball around an image in which gradients are taken, and the largest estimate.",
    lower_bound=1e-6,
)
flags.DEFINE_integer("maxima", 50, "Maxima that a law is fitted to.", lower_bound=10)
flags.DEFINE_integer(
    "gradients_per_maximum", 64, "Gradients that each is the largest of.", lower_bound=1
)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()


def main(argv):
    """Estimates."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    path, indices = certified_test_set.file_and_images(
        data, flag.num_images, flag.shard, run.path / IN_A_FOLDER, flag.outfile
    )
    settings = {
        "estimate_radius": flag.estimate_radius,
        "maxima": flag.maxima,
        "gradients_per_maximum": flag.gradients_per_maximum,
        "seed": flag.seed,
    }
    estimate_test_images(checkpoints.load_model(run.model), data, path, indices, settings)
    print(f"Wrote {path}. Next: python -m experiments.report {flag.run_dir}")


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

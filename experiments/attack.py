"""Attacks the test images of a training run: upper bounds of the distance to another class.

One row per image goes to a tab-separated file as soon as it is known. When the command is
interrupted and given again, it goes on where it was. Distances are upper bounds, and stand next to
the certified radii in the report.

    python -m experiments.attack --run_dir=runs/digits_ls --classifier=smoothed --num_images=100
    python -m experiments.report runs/digits_ls
"""

from absl import flags

from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.attacked_test_set import attack_test_images
from experiments.run_directory import RunDirectory
from lsrs_tf.attacks.functions import attacker_of
from lsrs_tf.records.attacks import IN_A_FOLDER

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_float("sigma", None, "Standard deviation of the noise; by default that of training.")
flags.DEFINE_string("outfile", None, "File to write; by default attacked.tsv in --run_dir.")
flags.DEFINE_string("shard", None, "Part of the test images, such as 2/4 for the second of four.")
flags.DEFINE_string(
    "adversarial_dir", None, "Folder for pairs of PNG files, each image and what was found."
)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()
shared_flags.define_alpha()
shared_flags.define_head_dtype()
shared_flags.define_attack("ddn")


def main(argv):
    """Attacks."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    path, indices = certified_test_set.file_and_images(
        data, flag.num_images, flag.shard, run.path / IN_A_FOLDER, flag.outfile
    )
    model = checkpoints.load_model(run.model)
    settings = {
        "classifier": flag.classifier or ("smoothed" if model.sigma > 0 else "base"),
        "steps": flag.steps,
        "restarts": flag.restarts,
        "seed": flag.seed,
        "sigma": flag.sigma,
        "draws": flag.draws,
        "n": flag.predict_n,
        "alpha": flag.alpha,
        "head_dtype": flag.head_dtype,
    }
    attacker = attacker_of(model, flag.attack, radius=flag.radius, **settings)
    attack_test_images(
        attacker, model, data, path, indices, flag.radius, settings, flag.adversarial_dir
    )
    print(f"Wrote {path}. Next: python -m experiments.report {flag.run_dir}")


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

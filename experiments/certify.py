"""Certifies the test images of a training run.

One row per image goes to a tab-separated file as soon as it is known. When the command is
interrupted and given again, it goes on where it was.

    python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500
"""

import shlex

from absl import flags

from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.fitting import fraction_replaced
from experiments.run_directory import RunDirectory
from lsrs_tf import Certifier

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_float(
    "sigma", None, "Standard deviation of the noise; by default that of the training."
)
flags.DEFINE_string("outfile", None, "File to write; by default certified.tsv in --run_dir.")
flags.DEFINE_string(
    "shard",
    None,
    "Part of the test images, such as 2/4 for the second of four; see experiments.merge.",
)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()
shared_flags.define_method()


def main(argv):
    """Certifies."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    settings = run.settings()
    data = datasets.load(settings["dataset"], flag.data_dir, flag.download)
    path, indices = certified_test_set.file_and_images(
        data, flag.num_images, flag.shard, run.certified, flag.outfile
    )
    # After what can be refused at once: freezing and proving an encoder takes a while.
    with checkpoints.strategy_of_all_gpus().scope():
        model = checkpoints.load_model(run.model)
        certification = shared_flags.certification_settings_of(model)
        certifier = Certifier(model, sigma=flag.sigma, **certification)
    certified_test_set.certify_test_images(
        certifier,
        model,
        data,
        path,
        fraction_replaced(
            settings["model"],
            settings["orthogonal_layers"],
            settings.get("parametrization", "cayley"),
            settings.get("head"),
        ),
        indices,
    )
    print(f"Wrote {path}. Next: python -m experiments.{_following(path)}")


def _following(path):
    """Returns the command that makes something of the file, with what it needs to know."""
    flag = flags.FLAGS
    if flag.shard is None:
        return shlex.join(["report", str(path)])
    given = {"num_images": flag.num_images, "data_dir": flag.data_dir}
    others = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return shlex.join(["merge", f"--run_dir={flag.run_dir}", *others])


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

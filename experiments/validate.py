"""Certifies some images, and attacks just inside every certified radius.

A sound certificate is never contradicted, beyond what alpha allows; if one is, a bound or the
classifier is wrong, and the command ends with the exit status 3. Run it after every change of a
model or of a layer. That nothing is found proves nothing.

    python -m experiments.validate --run_dir=runs/digits_ls --num_images=20 --n=10000
"""

import sys

from absl import flags

from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.run_directory import RunDirectory
from experiments.validation import validate
from lsrs_tf import Certifier

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_float("sigma", None, "Standard deviation of the noise; None means that of training.")
flags.DEFINE_integer("steps", 40, "Steps of each start of an attack.", lower_bound=1)
flags.DEFINE_integer("restarts", 2, "Starts of each attack.", lower_bound=1)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()
shared_flags.define_method()


def main(argv):
    """Validates."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    indices = certified_test_set.evenly_spread(data.num_test, flag.num_images)
    model = checkpoints.load_model(run.model)
    certifier = Certifier(model, sigma=flag.sigma, **shared_flags.certification_settings_of(model))
    result = validate(certifier, data, indices, steps=flag.steps, restarts=flag.restarts)
    print(result)
    if result.alarm:
        sys.exit(command_line.CONTRADICTED)


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

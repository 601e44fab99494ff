"""Certifies the test images of a training run by a pipeline of Apache Beam.

The file is that of `experiments.certify`, apart from the times. What follows -- are options of
Beam, which choose the engine and its workers. All workers must read --run_dir and the data set, and
write next to the file, under the same names. When the command is interrupted, or a worker dies, it
goes on where it was if it is given again.

    python -m experiments.certify_beam --run_dir=runs/cifar_ls -- --runner=DirectRunner
"""

import importlib
import pathlib

from absl import flags

from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.fitting import fraction_replaced
from experiments.run_directory import RunDirectory
from lsrs_tf import Certifier
from lsrs_tf.records import schema

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_float(
    "sigma", None, "Standard deviation of the noise; by default that of the training."
)
flags.DEFINE_string("outfile", None, "File to write; by default certified.tsv in --run_dir.")
flags.DEFINE_integer(
    "chunks",
    256,
    "Parts of the test images, each read and certified by one worker; several times as many as "
    "there are workers.",
    lower_bound=1,
)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()
shared_flags.define_method()


def main(argv):
    """Certifies."""
    try:
        # Not above, so that commands can be listed without Beam.
        beam = importlib.import_module("lsrs_tf.beam")
    except ImportError as error:
        raise ValueError(str(error)) from error
    beam_runs = importlib.import_module("experiments.beam_runs")
    beam_test_set = importlib.import_module("experiments.beam_test_set")
    options = beam_runs.checked_options(argv[1:])
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    settings = run.settings()
    data = datasets.load(settings["dataset"], flag.data_dir, flag.download)
    # Workers may run in another folder.
    path = pathlib.Path(flag.outfile or run.certified).resolve()
    indices = certified_test_set.evenly_spread(data.num_test, flag.num_images)
    model = checkpoints.load_model(run.model)
    certification = shared_flags.certification_settings_of(model)
    columns = certified_test_set.settings_of(
        Certifier(model, sigma=flag.sigma, **certification),
        model,
        data,
        fraction_replaced(
            settings["model"],
            settings["orthogonal_layers"],
            settings.get("parametrization", "cayley"),
            settings.get("head"),
        ),
    )
    # What a worker does not know: the data, and what follows from the model.
    unknown = ("data", "data_fingerprint", "replaced", *schema.COSTS)
    failures = beam_test_set.certify_test_images(
        path,
        columns,
        data,
        indices,
        options,
        beam.Certify(
            run.model.resolve(),
            sigma=flag.sigma,
            expected={name: value for name, value in columns.items() if name not in unknown},
            timed=True,
            **certification,
        ),
        flag.data_dir,
        flag.chunks,
    )
    if failures:
        listed = "\n".join(f"image {index}: {text}" for index, text in sorted(failures.items()))
        raise ValueError(
            f"{len(failures)} of {len(indices)} images could not be certified; {path} holds the "
            f"others.\n{listed}"
        )
    print(f"Wrote {path}. Next: python -m experiments.report {path}")


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

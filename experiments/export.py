"""Exports a training run as a SavedModel that TensorFlow Serving can serve.

The SavedModel has these signatures; every input and output has a leading batch dimension:

    predict_smoothed  images -> label, votes   (also serving_default)
    certify           images -> label, radius, p_lower, votes, samples
    certify_with      images, seed, n, alpha -> the same, reproducible
    certify_at        images, radius -> robust, label, samples
    certify_margin    images -> label, radius, margin   (with --margin)
    predict_clean     images -> label, logits
    encode            images -> latents
    classify          latents -> logits
    certify_bytes     image_bytes -> as certify; and so on for all but encode and classify
    decode            image_bytes -> images

Images are float32 with pixels in [0, 1]; image_bytes are JPEG, PNG or BMP files of the size of the
input, or of any with --resize. A label of -1 is an abstention. Radii are in the L2 norm, in units
of pixels, rounded down. A model that was trained with --sigma=0 has certify_margin (also
serving_default) and predict_clean only, and those of files.

    python -m experiments.export --run_dir=runs/digits_ls --output_dir=served/digits
"""

from absl import flags

from experiments import checkpoints, command_line, shared_flags
from experiments.run_directory import RunDirectory
from experiments.run_export import export_run

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_string(
    "output_dir",
    None,
    "Folder of the versions; by default saved_model, or saved_model_xla, in --run_dir.",
)
flags.DEFINE_float(
    "sigma", None, "Standard deviation of the noise; by default that of the training."
)
shared_flags.define_export()
flags.adopt_module_key_flags(command_line)


def main(argv):
    """Exports."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    model = checkpoints.load_model(run.model)
    export_run(model, run, flag.output_dir, flag.sigma)


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])

"""Exports a training run as a SavedModel that TensorFlow Serving can serve.

The SavedModel has these signatures; every input and output has a leading batch dimension:

    certify       images -> label, radius, p_lower, votes, samples   (also serving_default)
    certify_with  images, seed -> the same, reproducible
    encode        images -> latents
    classify      latents -> logits

Images are float32 with pixels in [0, 1]. A label of -1 with radius 0 is an abstention. The radius
is in the L2 norm, in units of pixels, rounded down.

    python -m export --run_dir=runs/digits_ls --output_dir=served/digits
"""

from absl import flags

from experiments import certification_flags, checkpoints, command_line
from experiments.run_directory import RunDirectory
from export.saved_model import export_saved_model

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_string(
    "output_dir", None, "Folder of the versions; None means saved_model in --run_dir."
)
flags.DEFINE_float("sigma", None, "Standard deviation of the noise; None means that of training.")
flags.adopt_module_key_flags(certification_flags)
flags.adopt_module_key_flags(command_line)


def main(argv):
    """Exports."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    model = checkpoints.load_model(run.model)
    version = export_saved_model(
        model,
        flag.output_dir or run.saved_model,
        flag.sigma,
        flag.n0,
        flag.n,
        flag.alpha,
        flag.certify_batch_size,
    )
    print(
        f"Certificates: n0={flag.n0}, n={flag.n}, alpha={flag.alpha}, "
        f"sigma={model.sigma if flag.sigma is None else flag.sigma}."
    )
    print(f"Wrote {version}. Look at it with `saved_model_cli show --dir {version} --all`.")


if __name__ == "__main__":
    flags.mark_flag_as_required("run_dir")
    command_line.run(main)

"""Flags of the commands that export."""

import pathlib

import numpy as np
from absl import flags

from experiments import certification_flags, noise_flag
from experiments.about import about_run
from experiments.flag_values import number_list
from export.model_card import changes_from_version_before
from export.saved_model import export_saved_model

flags.DEFINE_integer(
    "predict_n", 1_000, "Noisy samples of the signature predict_smoothed.", lower_bound=1
)
flags.DEFINE_integer(
    "max_n", None, "The most samples of a certify_with request; None means --n.", lower_bound=1
)
flags.DEFINE_list(
    "served_radii",
    [],
    "Radii that certify_at tests without rounding them up, beside multiples of 0.25.",
)
flags.DEFINE_boolean(
    "xla", False, "Compile passes of the head; the server then needs a flag, which is printed."
)
flags.adopt_module_key_flags(certification_flags)
flags.adopt_module_key_flags(noise_flag)


def export(model, run, directory, sigma):
    """Exports the model of a run as the flags ask for, and says where.

    Args:
        model: its `LatentSmoothingModel`.
        run: `RunDirectory`.
        directory: folder of all versions, or None for one in the folder of the run.
        sigma: float, or None for the model's.
    """
    flag = flags.FLAGS
    directory = pathlib.Path(directory or (run.saved_model_xla if flag.xla else run.saved_model))
    sigma = float(np.float32(model.sigma if sigma is None else sigma))
    about = about_run(run, model, {"sigma": sigma, "noise": flag.noise, "alpha": flag.alpha})
    version = export_saved_model(
        model,
        directory,
        sigma,
        flag.n0,
        flag.n,
        flag.alpha,
        flag.certify_batch_size,
        flag.noise,
        flag.predict_n,
        flag.max_n,
        number_list("served_radii"),
        flag.xla,
        about,
    )
    print(
        f"Certificates: n0={flag.n0}, n={flag.n}, alpha={flag.alpha}, sigma={sigma}, "
        f"noise={flag.noise}."
    )
    for change in changes_from_version_before(version):
        print(f"Another version before it had {change}. A server moves all clients to the new one.")
    if flag.xla:
        print(
            "It is compiled by XLA: start the server with --xla_cpu_compilation_enabled=true, or "
            "on a GPU with --xla_gpu_compilation_enabled=true."
        )
    print(f"Wrote and checked {version}. It is described in {version}/assets.extra/model_card.md.")

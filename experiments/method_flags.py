"""Flags of the commands that certify: how samples are taken."""

from absl import flags

from experiments import against_flag, certification_flags, noise_flag
from experiments.flag_values import number_list
from lsrs_tf.smoothing.certification import METHODS, make_certifier

flags.DEFINE_enum(
    "method",
    "fixed",
    METHODS,
    "fixed: --n samples of every image prove the largest radius they can; sequential: as many as "
    "it takes to settle --target_radii, or for a radius within --tolerance; --n at most.",
)
flags.DEFINE_list(
    "target_radii", None, "Radii to certify at, such as 0.25,0.5, for --method=sequential."
)
flags.DEFINE_float(
    "tolerance",
    None,
    "How much smaller than with --n samples radii may be, for --method=sequential without targets.",
)
flags.DEFINE_integer(
    "images_per_draw",
    1,
    "Images that share their noise in a pass, for --method=fixed; 16 saves most of its time.",
    lower_bound=1,
)


flags.adopt_module_key_flags(against_flag)
flags.adopt_module_key_flags(certification_flags)
flags.adopt_module_key_flags(noise_flag)


def certifier(model, sigma):
    """Returns the certifier that the flags ask for.

    Args:
        model: `LatentSmoothingModel`.
        sigma: float, or None for the model's.
    """
    flag = flags.FLAGS
    return make_certifier(
        model,
        flag.method,
        number_list("target_radii"),
        sigma,
        flag.n0,
        flag.n,
        flag.alpha,
        flag.seed,
        flag.certify_batch_size,
        flag.noise,
        flag.images_per_draw,
        flag.tolerance,
        flag.against,
    )

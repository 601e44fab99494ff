"""The flags that choose the objective of a training."""

import keras
from absl import flags

from lsrs_tf import training

# The numbers that each objective takes: flags, and the arguments that they give.
_NUMBERS = {
    "gaussian": {},
    "consistency": {
        "consistency_weight": "weight",
        "consistency_entropy_weight": "entropy_weight",
        "objective_noises": "noises",
    },
    "smoothadv": {
        "smoothadv_radius": "radius",
        "smoothadv_steps": "steps",
        "smoothadv_warmup_epochs": None,
        "objective_noises": "noises",
    },
    "macer": {
        "macer_weight": "weight",
        "macer_margin": "margin",
        "macer_inverse_temperature": "inverse_temperature",
        "objective_noises": "noises",
    },
    "catrs": {
        "catrs_weight": "weight",
        "catrs_radius": "radius",
        "catrs_steps": "steps",
        "objective_noises": "noises",
    },
}
_CLASSES = {
    "consistency": training.Consistency,
    "smoothadv": training.SmoothAdv,
    "macer": training.MACER,
    "catrs": training.CATRS,
}

flags.DEFINE_enum(
    "objective",
    "gaussian",
    list(_NUMBERS),
    "What a step of the training minimizes. gaussian: --loss with one noise for each image; the "
    "others go with --loss=crossentropy and a --sigma above 0, and run the head on several noises.",
)
flags.DEFINE_integer(
    "objective_noises",
    None,
    "Noises of each image and step, for the other objectives than gaussian; None means 2 for "
    "consistency, 4 for smoothadv and catrs, 16 for macer.",
)
flags.DEFINE_float(
    "consistency_weight",
    None,
    "Weight of the divergence between noises, for --objective=consistency; None means 10.",
)
flags.DEFINE_float(
    "consistency_entropy_weight",
    None,
    "Weight of the entropy, for --objective=consistency; None means 0.5.",
)
flags.DEFINE_float(
    "smoothadv_radius",
    None,
    "L2 radius of the attack in the latent, for --objective=smoothadv; None means 1.",
)
flags.DEFINE_integer(
    "smoothadv_steps", None, "Steps of the attack, for --objective=smoothadv; None means 10."
)
flags.DEFINE_integer(
    "smoothadv_warmup_epochs",
    None,
    "Epochs in which the radius of the attack grows from 0, for --objective=smoothadv; None means "
    "that it has its size from the beginning.",
    lower_bound=1,
)
flags.DEFINE_float(
    "macer_weight", None, "Weight of the radius, for --objective=macer; None means 12."
)
flags.DEFINE_float(
    "macer_margin",
    None,
    "Radius, in halves of --sigma, up to which it is enlarged, for --objective=macer; None means "
    "8.",
)
flags.DEFINE_float(
    "macer_inverse_temperature",
    None,
    "Factor of the logits in the radius, for --objective=macer; None means 16.",
)
flags.DEFINE_float(
    "catrs_weight", None, "Weight of the worst noise, for --objective=catrs; None means 0.5."
)
flags.DEFINE_float(
    "catrs_radius",
    None,
    "L2 radius of the attack in the latent, for --objective=catrs; None means 1.",
)
flags.DEFINE_integer(
    "catrs_steps", None, "Steps of the attack, for --objective=catrs; None means 4."
)

NAMES = ("objective", *dict.fromkeys(name for names in _NUMBERS.values() for name in names))
# What was trained before there were these flags.
DEFAULTS = {"objective": "gaussian"}


def objective_of_flags(steps_per_epoch):
    """Returns the objective that the flags choose, None for that of images with one noise.

    Args:
        steps_per_epoch: int, optimizer steps.

    Raises:
        ValueError: if a number is impossible or not one of the objective, or another flag does not
            go with the objective.
    """
    flag = flags.FLAGS
    used = _NUMBERS[flag.objective]
    for name in NAMES[1:]:
        if flag[name].value is not None and name not in used:
            takes = ", ".join(f"--{other}" for other in used) or "no number"
            raise ValueError(
                f"--{name} does not belong to --objective={flag.objective}, which takes {takes}. "
                "Leave it out, or choose another --objective."
            )
    if flag.objective == "gaussian":
        return None
    if flag.loss != "crossentropy":
        raise ValueError(
            f"--objective={flag.objective} is made of cross-entropies, and does not go with "
            f"--loss={flag.loss}. Leave out one of them."
        )
    if flag.sigma == 0:
        raise ValueError(
            f"--objective={flag.objective} trains the votes of noisy latents, and --sigma=0 has no "
            "noise. Give a --sigma above 0, or leave --objective out."
        )
    arguments = {
        argument: flag[name].value
        for name, argument in used.items()
        if argument is not None and flag[name].value is not None
    }
    objective = _CLASSES[flag.objective](**arguments)
    if flag.objective == "smoothadv" and flag.smoothadv_warmup_epochs:
        # Of the radius that was checked before a schedule hides it.
        growing = keras.optimizers.schedules.PolynomialDecay(
            0.0, flag.smoothadv_warmup_epochs * steps_per_epoch, objective.radius
        )
        objective = training.SmoothAdv(**{**arguments, "radius": growing})
    return objective

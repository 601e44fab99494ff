"""The flags that choose the loss of a training."""

import math

import keras
from absl import flags

from lsrs_tf import losses

# The numbers that each loss takes; those without a default have to be given.
_NUMBERS = {
    "crossentropy": (),
    "smoothed_crossentropy": ("loss_smoothing",),
    "offset_crossentropy": ("loss_offset", "loss_temperature"),
    "lipschitz_margin": ("loss_radius", "loss_lipschitz", "loss_pairwise"),
    "emma": ("loss_radius", "loss_lipschitz", "loss_pairwise"),
    "hinge": ("loss_margin",),
    "certificate_regularized": ("loss_gamma", "loss_lipschitz", "loss_pairwise"),
}
_NEEDED = ("loss_smoothing", "loss_offset", "loss_radius", "loss_margin", "loss_gamma")
_CLASSES = {
    "smoothed_crossentropy": losses.SmoothedCrossentropy,
    "offset_crossentropy": losses.OffsetCrossentropy,
    "lipschitz_margin": losses.LipschitzMarginCrossentropy,
    "emma": losses.EMMA,
    "hinge": losses.MarginHinge,
    "certificate_regularized": losses.CertificateRegularizedCrossentropy,
}
# EMMA's radius grows from .1 to 3 times the one of interest in the first half of the training.
_EMMA_RATIOS = (0.1, 3.0)

flags.DEFINE_enum(
    "loss",
    "crossentropy",
    list(_NUMBERS),
    "Loss of the training: cross-entropy, with label smoothing or without; the others train the "
    "margins between logits.",
)
flags.DEFINE_float(
    "loss_smoothing",
    None,
    "Probability that is spread over all classes, for --loss=smoothed_crossentropy.",
)
flags.DEFINE_float(
    "loss_offset", None, "Offset against the true class, for --loss=offset_crossentropy."
)
flags.DEFINE_float(
    "loss_temperature",
    None,
    "Temperature, for --loss=offset_crossentropy; None means 0.25.",
)
flags.DEFINE_float(
    "loss_radius",
    None,
    "L2 radius in input space, for --loss=lipschitz_margin and emma. That of emma grows from 0.1 "
    "to 3 times this in the first half of the training.",
)
flags.DEFINE_float("loss_margin", None, "Margin between logits, for --loss=hinge.")
flags.DEFINE_float(
    "loss_gamma", None, "Weight of the certified radius, for --loss=certificate_regularized."
)
flags.DEFINE_float(
    "loss_lipschitz",
    None,
    "Lipschitz constant of all before the last layer, or with --noloss_pairwise of the whole "
    "model, for --loss=lipschitz_margin, emma and certificate_regularized; None means 1.",
)
flags.DEFINE_boolean(
    "loss_pairwise",
    None,
    "Read the constants of pairs of classes from the last layer, for the same losses; None means "
    "true. A head of several layers needs --noloss_pairwise.",
)

NAMES = ("loss", *dict.fromkeys(name for names in _NUMBERS.values() for name in names))
# What was trained before there were these flags.
DEFAULTS = {"loss": "crossentropy"}


def loss_of_flags(steps):
    """Returns the loss that the flags choose.

    Args:
        steps: int, optimizer steps of the whole training.

    Raises:
        ValueError: if a number is missing, impossible, or not one of the loss.
    """
    flag = flags.FLAGS
    used = _NUMBERS[flag.loss]
    for name in NAMES[1:]:
        if flag[name].value is not None and name not in used:
            takes = " and ".join(f"--{other}" for other in used) or "no number"
            raise ValueError(
                f"--{name} does not belong to --loss={flag.loss}, which takes {takes}. Leave it "
                "out, or choose another --loss."
            )
        if flag[name].value is None and name in used and name in _NEEDED:
            raise ValueError(f"--loss={flag.loss} needs --{name}: {flag[name].help}")
    if flag.loss == "crossentropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    arguments = {
        name.removeprefix("loss_"): flag[name].value
        for name in used
        if flag[name].value is not None
    }
    # Of what was given, before a schedule hides it.
    loss = _CLASSES[flag.loss](**arguments)
    if flag.loss == "emma":
        arguments["radius"] = _growing(flag.loss_radius, steps)
        loss = losses.EMMA(**arguments)
    return loss


def _growing(radius, steps):
    start, end = (ratio * radius for ratio in _EMMA_RATIOS)
    return keras.optimizers.schedules.PolynomialDecay(start, math.ceil(steps / 2), end)

"""Attacks just inside every certificate."""

import dataclasses

import numpy as np

from lsrs_tf.attacks.functions import attacker_of
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.evaluation.sandwich import Contradictions, contradictions
from lsrs_tf.progress import progress

# How far inside a certified radius attacks stay, relatively.
_INSIDE = 1e-3


@dataclasses.dataclass(frozen=True)
class Validation:
    """What attacks inside certificates have come to.

    Attributes:
        contradictions: `Contradictions`.
        dependent: list of int, the images whose latents or logits depend on the rest of a batch.
    """

    contradictions: Contradictions
    dependent: list[int]

    @property
    def alarm(self):
        """Bool, whether certificates are not to be trusted."""
        return self.contradictions.alarm or bool(self.dependent)

    def __str__(self):
        """Returns what was found, for people."""
        text = str(self.contradictions)
        if self.dependent:
            names = ", ".join(map(str, self.dependent))
            text += (
                f"\nALARM: the encoder gives images {names} other values in a batch than alone, "
                "so that a certificate is not about what is served."
            )
        return text


def validate(certifier, data, indices, *, steps=40, restarts=2):
    """Certifies test images, and attacks each within its certified radius.

    The class to change is the one that is certified, whether it is the true one or not.

    Args:
        certifier: `lsrs_tf.Certifier`; its own classifier is attacked.
        data: `datasets.ImageData`.
        indices: increasing list of int, which test images.
        steps: int, steps of each start.
        restarts: int, starts of each attack.

    Returns:
        `Validation`.
    """
    images = {
        index: np.asarray(image, np.float32)
        for index, (image, _) in zip(indices, data.test(indices), strict=True)
    }
    certified = progress(
        certifier.certificates_of(images.items()), desc="certify", unit="image", total=len(images)
    )
    found = {index: one for index, one, _ in certified if one.label >= 0 and one.radius > 0}
    kept = [index for index in indices if index in found]
    margin = certifier.settings.method == "margin"
    options = {} if margin else {"alpha": certifier.settings.alpha}
    attacker = attacker_of(
        certifier.base_classifier if margin else certifier.classifier,
        "pgd",
        classifier="base" if margin else "smoothed",
        # Only checked: every image has its own.
        radius=1.0,
        steps=steps,
        restarts=restarts,
        seed=certifier.settings.seed,
        **options,
    )
    entries = [
        (images[index], Goal(found[index].label), found[index].radius * (1 - _INSIDE))
        for index in kept
    ]
    outcomes = progress(attacker.outcomes(entries), desc="attack", unit="image", total=len(entries))
    distances = [outcome.changed_distance for outcome in outcomes]
    dependent = []
    for first in range(0, len(kept), attacker.attacked.batch_size):
        batch = kept[first : first + attacker.attacked.batch_size]
        apart = attacker.attacked.depend_on_batch(np.stack([images[index] for index in batch]))
        dependent += [index for index, differs in zip(batch, apart, strict=True) if differs]
    return Validation(
        contradictions(
            kept,
            [found[index].radius for index in kept],
            distances if distances else np.empty(0),
            0.0 if margin else 2 * certifier.settings.alpha,
            independent=margin or not certifier.settings.shared_noise,
        ),
        dependent,
    )

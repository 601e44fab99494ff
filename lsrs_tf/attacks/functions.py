"""The function of a Keras pipeline that attacks."""

import inspect
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lsrs_tf.attacks.attacked_base import AttackedBase
from lsrs_tf.attacks.attacked_smoothed import AttackedSmoothed
from lsrs_tf.attacks.attacker import Attacker
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.methods import attack_of
from lsrs_tf.attacks.result import AttackResult
from lsrs_tf.attacks.search import Attack
from lsrs_tf.certification.images import Images, each_image
from lsrs_tf.certification.settings import HeadDtype, checked_seed
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.number_kinds import is_real_number
from lsrs_tf.progress import progress
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.statistics.confidence import checked_count


def attack(
    model: LatentSmoothingModel,
    images: Images,
    labels: ArrayLike,
    *,
    method: Literal["pgd", "ddn", "fmn", "deepfool", "carlini_wagner", "lbfgs"] = "ddn",
    classifier: Literal["base", "smoothed"] = "base",
    targets: ArrayLike | None = None,
    radius: float | None = None,
    steps: int | None = None,
    restarts: int = 1,
    seed: int = 0,
    sigma: float | None = None,
    draws: int = 32,
    n: int = 1_000,
    alpha: float = 0.001,
    head_dtype: HeadDtype | None = None,
    batch_size: int | None = None,
    verbose: int = 1,
) -> AttackResult:
    """Looks for the nearest image of another class: an upper bound of what `certify` bounds.

    An attack proves that the distance to the nearest adversarial image is at most what it has
    found, and nothing about images that it has not found. An image counts only if the classifier
    that is certified answers otherwise for the float32 image that is returned, alone; a bisection
    towards the original has made it as near as that direction allows.

    The same images, settings and seed give the same result on the same machine.

    Args:
        model: built `LatentSmoothingModel`.
        images: as for `certify`; all of them are read first.
        labels: whole numbers [images], the true classes.
        method: one of

            - 'pgd' (Madry et al. 2018), within a `radius`;
            - for the nearest image: 'ddn' (Rony et al. 2019), 'fmn' (Pintor et al. 2021),
              'deepfool' (Moosavi-Dezfooli et al. 2016), 'carlini_wagner' (2017) or 'lbfgs' (Szegedy
              et al. 2014, one image at a time).
        classifier: 'base' for the classifier without noise. It is frozen as for
            `certify(method='margin')`; if the head has no bound, the head as it is. 'smoothed' for
            the classifier that `predict` answers for: an attack has succeeded where it abstains or
            answers otherwise, with samples of its own. An abstention contradicts no certificate,
            so that `changed_distances` say where the answer is another class.
        targets: whole numbers [images], the class that each image is to get, or None for any other
            than the label.
        radius: float above 0, L2 radius in units of pixels in [0, 1], for 'pgd' only.
        steps: int, steps of each start, or None for the default of the method.
        restarts: int, starts of each search; the best one counts.
        seed: int, seed of the starts, and of draws and samples of the smoothed classifier.
        sigma: float above 0, as for `certify`; for 'smoothed' only, as the next four, and refused
            for 'base'.
        draws: int, draws of the noise that gradients are averaged over, the same in all steps.
        n: int, samples of each answer, as for `predict`.
        alpha: float in (0, 1), as for `predict`: the probability that the answer for an image that
            is found is wrong.
        head_dtype: as for `certify`: certificates of a cast head are contradicted by attacks on the
            cast head only.
        batch_size: int, images in one search, or None for a number that suits the classifier.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        An `AttackResult`.

    Raises:
        ValueError: if an image, a label or a setting is not valid, or the model has no gradient.

    Examples:
        For a linear classifier the nearest image is known: |2 x - 1| / 2 away from the pixel .9.

        >>> import keras
        >>> import lsrs_tf
        >>> encoder = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Identity()])
        >>> head = keras.Sequential(
        ...     [keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> head.set_weights([np.array([[0.0, 2.0]]), np.array([0.0, -1.0])])
        >>> model = lsrs_tf.models.LatentSmoothingModel(encoder, head, sigma=0.25)
        >>> images = np.full((1, 1, 1, 1), 0.9, "float32")
        >>> result = lsrs_tf.attack(model, images, [1], verbose=0)
        >>> result.distances.round(3).tolist()
        [0.4]
        >>> result.labels.tolist()
        [0]
    """
    attacker = attacker_of(
        model,
        method,
        classifier=classifier,
        targeted=targets is not None,
        radius=radius,
        steps=steps,
        restarts=restarts,
        seed=seed,
        sigma=sigma,
        draws=draws,
        n=n,
        alpha=alpha,
        head_dtype=head_dtype,
        batch_size=batch_size,
    )
    search, attacked = attacker.attack, attacker.attacked
    longest = checked_radius(radius, search)
    # Read before the work begins, which is long: the last image may be invalid.
    checked = list(each_image(images, attacked.image_shape))
    goals = checked_goals(labels, targets, len(checked), attacked.num_classes)
    entries = [(image, goal, longest) for image, goal in zip(checked, goals, strict=True)]
    outcomes = list(
        progress(
            attacker.outcomes(entries),
            total=len(entries),
            desc=f"{search.name} attack",
            unit="image",
            shown=bool(verbose),
        )
    )
    return AttackResult(
        distances=np.array([outcome.distance for outcome in outcomes], np.float64),
        changed_distances=np.array([outcome.changed_distance for outcome in outcomes], np.float64),
        images=np.array([outcome.image for outcome in outcomes], np.float32).reshape(
            -1, *attacked.image_shape
        ),
        labels=np.array([outcome.label for outcome in outcomes], np.int64),
        clean_labels=np.array([outcome.clean_label for outcome in outcomes], np.int64),
        notes=[outcome.note for outcome in outcomes],
        method=search.name,
        classifier=attacked.name,
        head_dtype=attacked.columns()["head_dtype"],
        steps=search.steps,
        seed=int(seed),
    )


def attacker_of(
    model: LatentSmoothingModel | SmoothedClassifier | BaseClassifier,
    method: str,
    *,
    classifier: str = "base",
    targeted: bool = False,
    radius: float | None = None,
    steps: int | None = None,
    restarts: int = 1,
    seed: int = 0,
    sigma: float | None = None,
    draws: int = 32,
    n: int = 1_000,
    alpha: float = 0.001,
    head_dtype: HeadDtype | None = None,
    batch_size: int | None = None,
) -> Attacker:
    """Returns the `Attacker` of the arguments of `attack`, for many calls.

    Args:
        model: as for `attack`, or the classifier of a certifier.
        method: as for `attack`, as are those that follow.
        classifier: str.
        targeted: bool, whether goals have targets.
        radius: float or None, checked only.
        steps: int or None.
        restarts: int.
        seed: int.
        sigma: float or None.
        draws: int.
        n: int.
        alpha: float.
        head_dtype: 'bfloat16' or None; the classifier of a certifier has its own.
        batch_size: int or None.

    Raises:
        ValueError: if a setting is not valid.
    """
    search = attack_of(method, steps)
    checked_radius(radius, search)
    seed, restarts = checked_seed(seed), checked_count(restarts, "restarts")
    if classifier == "base":
        _refuse_for_base(sigma=sigma, draws=draws, n=n, alpha=alpha, head_dtype=head_dtype)
        attacked = AttackedBase(model)
    elif classifier == "smoothed":
        attacked = AttackedSmoothed(
            model,
            sigma=sigma,
            draws=draws,
            n=n,
            alpha=alpha,
            head_dtype=head_dtype,
            seed=seed,
            starts=restarts,
        )
    else:
        raise ValueError(f"`classifier` must be base or smoothed. Received: {classifier!r}")
    return Attacker(
        attacked, search, targeted=targeted, restarts=restarts, seed=seed, batch_size=batch_size
    )


def _refuse_for_base(**settings: object) -> None:
    """Raises if settings of the smoothed classifier have other values than by default."""
    parameters = inspect.signature(attack).parameters
    for name, value in settings.items():
        if value != parameters[name].default:
            reason = (
                "bounds of the base classifier are about its head in float64"
                if name == "head_dtype"
                else "the base classifier has no noise"
            )
            raise ValueError(
                f"`{name}` belongs to classifier='smoothed'; {reason}. Received: {name}={value!r}"
            )


def checked_radius(radius: object, search: Attack) -> float:
    """Returns the radius of an attack, infinite for one that takes none, or raises."""
    if not search.needs_radius:
        if radius is not None:
            raise ValueError(
                f"`radius` belongs to method='pgd'; '{search.name}' looks for the nearest image. "
                f"Received: radius={radius!r}"
            )
        return math.inf
    if not (is_real_number(radius) and math.isfinite(radius) and radius > 0):
        raise ValueError(
            f"method='{search.name}' needs a `radius` above 0, in units of pixels in [0, 1]. "
            f"Received: radius={radius!r}"
        )
    return float(radius)


def checked_goals(
    labels: ArrayLike, targets: ArrayLike | None, count: int, num_classes: int
) -> list[Goal]:
    """Returns the `Goal` of each image, or raises if labels or targets are not classes.

    Args:
        labels: whole numbers [images].
        targets: whole numbers [images], or None.
        count: int, images.
        num_classes: int.
    """
    true = _checked_classes(labels, "labels", count, num_classes)
    if targets is None:
        return [Goal(label) for label in true]
    wanted = _checked_classes(targets, "targets", count, num_classes)
    for index, (label, target) in enumerate(zip(true, wanted, strict=True)):
        if label == target:
            raise ValueError(
                f"The target of image {index} is its label, {label}. Choose another class, or "
                "leave out `targets` for an attack to any other one."
            )
    return [Goal(label, target) for label, target in zip(true, wanted, strict=True)]


def _checked_classes(values: ArrayLike, name: str, count: int, num_classes: int) -> list[int]:
    array = np.asarray(values)
    if array.shape != (count,) or not (np.issubdtype(array.dtype, np.integer) or not array.size):
        raise ValueError(
            f"`{name}` must be one whole number for each of {count} images. Received: "
            f"{'None' if values is None else f'shape {array.shape}, dtype {array.dtype}'}"
        )
    outside = (array < 0) | (array >= num_classes)
    if outside.any():
        index = int(np.argmax(outside))
        raise ValueError(
            f"`{name}` must be classes from 0 to {num_classes - 1}. Received: {array[index]} for "
            f"image {index}."
        )
    return array.tolist()

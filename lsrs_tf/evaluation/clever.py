"""CLEVER: an estimate of how far the nearest adversarial example is. It proves nothing."""

import dataclasses
import math
from typing import ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from lsrs_tf.certification.images import Images, each_image
from lsrs_tf.certification.settings import checked_seed
from lsrs_tf.evaluation.extreme_values import SMALLEST_MAXIMA, fit_reverse_weibull
from lsrs_tf.evaluation.margin_gradients import MarginGradients
from lsrs_tf.number_kinds import is_real_number
from lsrs_tf.progress import progress
from lsrs_tf.statistics.confidence import checked_count


@dataclasses.dataclass(frozen=True, repr=False)
class CleverResult:
    """Estimates of the distance to the nearest adversarial example. None is a certificate.

    Where an attack finds a nearer one, the estimate of that image is refuted, and the attack is
    right.

    Attributes:
        estimates: float64 [images], CLEVER scores: L2 distances in units of pixels in [0, 1], at
            most the radius of the ball that was looked at.
        labels: int64 [images], the class A that the base classifier gives the image.
        margins: float64 [images, classes], f_A - f_j at the image.
        locations: float64 [images, classes], estimates of the local Lipschitz constants of
            f_A - f_j: locations of the fitted laws, NaN for the class A itself.
        largest_norms: float64 [images, classes], largest norm of a gradient of f_A - f_j that was
            seen, NaN for the class A itself. No Lipschitz constant in the ball is below it.
        p_values: float64 [images, classes], of the Kolmogorov-Smirnov tests of the fitted laws. A
            small one speaks against the fit, and a large one hardly for it. NaN where nothing was
            fitted.
        fits: str [images, classes], what each location is: 'weibull' of a fitted law; 'constant'
            where all maxima are equal, as for a linear classifier, and the location is their
            value; 'largest' where no law with an end could be fitted, and `largest_norms` stands
            in, so that the estimate may well be too large; '' for the class A itself.
        radius: float, L2 radius of the ball.
        maxima: int, maxima of each fit.
        gradients_per_maximum: int.
        seed: int.

    Examples:
        >>> result = lsrs_tf.clever(
        ...     model, images, radius=1.0, maxima=10, gradients_per_maximum=8, verbose=0
        ... )
        >>> result.column
        'CLEVER (estimate)'
    """

    # For tables and files: what is under it is not to be mixed with certified radii.
    column: ClassVar[str] = "CLEVER (estimate)"

    estimates: NDArray[np.float64]
    labels: NDArray[np.int64]
    margins: NDArray[np.float64]
    locations: NDArray[np.float64]
    largest_norms: NDArray[np.float64]
    p_values: NDArray[np.float64]
    fits: NDArray[np.str_]
    radius: float
    maxima: int
    gradients_per_maximum: int
    seed: int

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """Bool [images], whether no location of an image is a stand-in ('largest')."""
        return ~np.any(self.fits == "largest", axis=1)

    def __repr__(self) -> str:
        """Returns a summary that says what it is."""
        median = f"{np.median(self.estimates):.3g}" if len(self.estimates) else "-"
        return (
            f"<CleverResult of {len(self.estimates)} images: estimate, not a certificate; median "
            f"{median} of at most {self.radius:g}, "
            f"{np.count_nonzero(~self.fitted)} images with a fit that failed, "
            f"{self.maxima} maxima of {self.gradients_per_maximum} gradients, seed {self.seed}>"
        )


def clever(
    model: keras.Model,
    images: Images,
    *,
    radius: float,
    maxima: int = 500,
    gradients_per_maximum: int = 1_024,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 1,
) -> CleverResult:
    """Estimates the L2 distance to the nearest adversarial example of each image.

    This is an estimate and not a certificate: it is often too large, and without any limit
    where gradients are masked (Goodfellow 2018, arXiv:1804.07870). Certificates come from
    `lsrs_tf.certify`.

    The CLEVER score for untargeted attacks of Weng et al., "Evaluating the Robustness of Neural
    Networks: An Extreme Value Theory Approach" (2018), theorem 3.2 and algorithms 1 and 2. For the
    class A of an image x and every other class j it is the smallest of

        min((f_A(x) - f_j(x)) / L_j, radius),

    where L_j would have to be the largest norm of the gradient of f_A - f_j in the ball around x,
    and is only estimated: by the location of a reverse Weibull law fitted to maxima of the norms at
    random points. The points are uniform in the ball, and not clipped to [0, 1].

    The same image, settings and seed give the same points, whatever the batch size and the other
    images are. (Norms may differ in the last bits with the batch size.)

    Args:
        model: built `keras.Model` from images to logits [batch, classes], before any softmax: the
            classifier that `model(images, training=False)` is. Of a `LatentSmoothingModel` that is
            the base classifier without noise, and not the smoothed classifier.
        images: array or tensor [images, height, width, channels] with floating point pixels in
            [0, 1], or any other way that `lsrs_tf.certify` takes. All of them are read first.
        radius: float above 0, L2 radius of the ball around each image, and the largest estimate. A
            larger ball gives smaller quotients and a higher limit. The paper has 5.
        maxima: int, maxima that a law is fitted to, at least 10.
        gradients_per_maximum: int, gradients that each of them is the largest of. An image takes
            `maxima * gradients_per_maximum` gradients of each class: by default, for 10 classes,
            5 million gradients. Start with less.
        batch_size: int, points in one pass; fewer if memory does not suffice.
        seed: int, seed of the points.
        verbose: 0 for silence, 1 for a progress bar with the time that is left.

    Returns:
        A `CleverResult`, which also says how well the laws fit.

    Raises:
        ValueError: if an argument is impossible, an image is not valid, or logits or gradients are
            not finite.

    Examples:
        For a linear classifier it is the exact distance: here |2 x - 1| / 2 at the pixel x = .9.

        >>> import keras
        >>> import lsrs_tf
        >>> model = keras.Sequential(
        ...     [keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> model.set_weights([np.array([[0.0, 2.0]]), np.array([0.0, -1.0])])
        >>> images = np.full((1, 1, 1, 1), 0.9, "float32")
        >>> result = lsrs_tf.clever(
        ...     model, images, radius=1.0, maxima=10, gradients_per_maximum=8, verbose=0
        ... )
        >>> result.estimates.round(3).tolist()
        [0.4]
        >>> result
        <CleverResult of 1 images: estimate, not a certificate; median 0.4 of at most 1, ...>
    """
    radius = _checked_radius(radius)
    maxima = _checked_maxima(maxima)
    gradients_per_maximum = checked_count(gradients_per_maximum, "gradients_per_maximum")
    batch_size = checked_count(batch_size, "batch_size")
    gradients = MarginGradients(model, radius, checked_seed(seed))
    # Read before the work begins, which is long: the last image may be invalid.
    checked = list(each_image(images, gradients.image_shape))
    points = maxima * gradients_per_maximum
    shape = (len(checked), gradients.num_classes)
    labels = np.zeros(len(checked), np.int64)
    margins, estimates = np.zeros(shape), np.full(len(checked), radius)
    locations, largest_norms, p_values = (np.full(shape, math.nan) for _ in range(3))
    fits = np.full(shape, "", "<U8")
    with progress(
        total=len(checked) * points,
        desc="CLEVER (estimate)",
        unit="point",
        unit_scale=True,
        shown=bool(verbose),
    ) as bar:
        for index, image in enumerate(checked):
            logits = gradients.logits(image, index)
            label = labels[index] = int(logits.argmax())
            margins[index] = logits[label] - logits
            found = np.zeros((maxima, gradients.num_classes))
            first = 0
            for norms in gradients.norms(image, label, points, batch_size):
                _refuse_infinite(norms, index, label)
                _raise_maxima(found, norms, first, gradients_per_maximum)
                first += len(norms)
                bar.update(len(norms))
            for j in range(gradients.num_classes):
                if j == label:
                    continue
                fit = fit_reverse_weibull(found[:, j])
                locations[index, j] = fit.location
                largest_norms[index, j] = found[:, j].max()
                p_values[index, j] = fit.p_value
                fits[index, j] = fit.kind
                distance = _quotient(margins[index, j], fit.location)
                estimates[index] = min(estimates[index], distance)
    return CleverResult(
        estimates=estimates,
        labels=labels,
        margins=margins,
        locations=locations,
        largest_norms=largest_norms,
        p_values=p_values,
        fits=fits,
        radius=radius,
        maxima=maxima,
        gradients_per_maximum=gradients_per_maximum,
        seed=int(seed),
    )


def _checked_radius(radius: object) -> float:
    if not (is_real_number(radius) and math.isfinite(radius) and radius > 0):
        raise ValueError(
            "`radius` must be a number above 0, the L2 radius of the ball around an image, in "
            f"units of pixels in [0, 1]. Received: radius={radius!r}"
        )
    return float(radius)


def _checked_maxima(maxima: object) -> int:
    maxima = checked_count(maxima, "maxima")
    if maxima < SMALLEST_MAXIMA:
        raise ValueError(
            f"`maxima` must be at least {SMALLEST_MAXIMA}, because a law of three parameters is "
            f"fitted to them (500 is customary). Received: maxima={maxima!r}"
        )
    return maxima


def _refuse_infinite(norms: NDArray[np.float64], index: int, label: int) -> None:
    invalid = ~np.isfinite(norms)
    if invalid.any():
        j = int(np.argmax(invalid.any(axis=0)))
        raise ValueError(
            f"Gradients of the margin between the classes {label} and {j} are NaN or infinite near "
            f"image {index}, at {np.count_nonzero(invalid[:, j])} of {len(norms)} points. Points "
            "may have pixels outside [0, 1], where the model must work as well; roots and "
            "logarithms of 0 have no finite gradient, and half precision overflows soon."
        )


def _raise_maxima(
    found: NDArray[np.float64], norms: NDArray[np.float64], first: int, size: int
) -> None:
    """Takes the norms of points from `first` into maxima of so many points each, in place."""
    starts = np.arange(first // size, (first + len(norms) - 1) // size + 1)
    highest = np.maximum.reduceat(norms, np.maximum(starts * size - first, 0), axis=0)
    found[starts] = np.maximum(found[starts], highest)


def _quotient(margin: float, location: float) -> float:
    """Returns margin / location; without a gradient, nothing but a margin of 0 is ever reached."""
    if location > 0:
        return float(margin / location)
    return math.inf if margin > 0 else 0.0

"""CLEVER: an estimate of how far the nearest adversarial example is. It proves nothing."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from lsrs_tf.certification.images import Images, each_image
from lsrs_tf.evaluation.clever_estimator import CleverEstimator
from lsrs_tf.progress import progress


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
    estimator = CleverEstimator(
        model, radius, maxima, gradients_per_maximum, batch_size=batch_size, seed=seed
    )
    # Read before the work begins, which is long: the last image may be invalid.
    checked = list(each_image(images, estimator.image_shape))
    with progress(
        total=len(checked) * estimator.points,
        desc=CleverResult.column,
        unit="point",
        unit_scale=True,
        shown=bool(verbose),
    ) as bar:
        found = [
            estimator.estimate(image, index, bar.update) for index, image in enumerate(checked)
        ]
    shape = (len(checked), estimator.num_classes)

    def of_all(name: str, dtype: type | str, shape: tuple[int, ...]) -> NDArray:
        return np.array([getattr(one, name) for one in found], dtype).reshape(shape)

    return CleverResult(
        estimates=of_all("estimate", np.float64, shape[:1]),
        labels=of_all("label", np.int64, shape[:1]),
        margins=of_all("margins", np.float64, shape),
        locations=of_all("locations", np.float64, shape),
        largest_norms=of_all("largest_norms", np.float64, shape),
        p_values=of_all("p_values", np.float64, shape),
        fits=of_all("fits", "<U8", shape),
        radius=estimator.radius,
        maxima=estimator.maxima,
        gradients_per_maximum=estimator.gradients_per_maximum,
        seed=estimator.seed,
    )

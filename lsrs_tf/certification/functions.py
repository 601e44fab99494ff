"""The functions of a Keras pipeline: certified labels with radii, labels alone, other alphas."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.certification.certificate import CertificationResult, SmoothedResult
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.encoded_images import encoded_images
from lsrs_tf.certification.images import Images, each_image, number_of_images
from lsrs_tf.certification.settings import (
    HeadDtype,
    Method,
    NoiseName,
    TargetRadii,
    checked_seed,
)
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.progress import progress
from lsrs_tf.sampling.random_streams import PREDICTION
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.confidence import checked_count
from lsrs_tf.statistics.radius_scale import Against

Entry = TypeVar("Entry")


def certify(
    model: LatentSmoothingModel,
    images: Images,
    *,
    method: Method = "fixed",
    target_radii: TargetRadii | None = None,
    tolerance: float | None = None,
    sigma: float | None = None,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    against: Against = "half",
    seed: int = 0,
    noise: NoiseName = "float32",
    head_dtype: HeadDtype | None = None,
    images_per_draw: int = 1,
    batch_size: int = 256,
    verbose: int = 1,
) -> CertificationResult:
    """Certifies images: labels that no small perturbation can change, and how small.

    The same image, settings and seed give the same counts, whatever the other images are.

    On several GPUs, make or load the model in the scope of a `tf.distribute.MirroredStrategy` and
    call this there too: each pass then goes to all of them.

    Args:
        model: built `lsrs_tf.models.LatentSmoothingModel`. Its encoder is frozen for the call.
        images: array or tensor [images, height, width, channels] with floating point pixels in
            [0, 1], a list of images, or a finite `tf.data.Dataset` or `keras.utils.PyDataset` of
            images, of batches, of (image, label) pairs of either, or of dictionaries with the key
            `image`. Labels are not looked at; results come in the order in which images are read,
            so that a data set should not shuffle them.
        method: 'fixed' for n samples of every image and the largest radius they prove (Cohen et
            al. 2019), 'sequential' for as many samples as an image needs: for an answer at
            `target_radii`, which takes a few percent, or for a radius within a `tolerance`, or
            'margin' for certificates of the *base* classifier, without noise, samples or alpha,
            from the margins of its logits (Tsuzuku et al. 2018): every layer of the head needs a
            Lipschitz bound, too.
        target_radii: float or floats above 0, L2 radii in input space, for 'sequential': tests at
            these radii stop as soon as the answer is settled, and the largest that is proven is
            the image's.
        tolerance: float above 0, in input space, for 'sequential': other samples plan how many are
            needed for a radius that is expected to be within this of that of n samples.
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        n0: int, noisy samples that select the class.
        n: int, noisy samples that estimate its probability; the time is proportional to it. With
            `method="sequential"` the most of them that one image may take, in addition to those
            that select and plan.
        alpha: float in (0, 1), probability that the certificate of one image is wrong.
        against: 'half' for radii by which a class keeps more than half of the votes (p_A against
            1/2, customary), or, for 'fixed' only, 'runner_up' for radii by which it keeps more than
            any other class (p_A against p_B, half of alpha for either bound). The latter are
            larger where the other votes are scattered over several classes, and a little smaller
            where they are not; choose beforehand.
        seed: int, seed of the noise. Anyone who knows it can choose an image to fit the noise:
            where images may come from an adversary, draw a fresh one.
        noise: 'float32' for the customary noise, whose rounding is not in the proof, 'exact' for
            noise on a grid that makes the certificate hold for the classifier as it is computed; it
            takes longer, and the radius loses up to .004 / L to the grid and what the encoder's own
            rounding may amount to. 'logits' is for heads of one dense layer: noise of the same law
            as 'float32', but of as many numbers as there are classes, which is much faster.
        head_dtype: 'bfloat16' for the head cast to it, which is faster where the processor has
            units for it, or None for the head as it is. The certificate is that of the cast head,
            another classifier: give `predict` and exports the same. The last layer, which gives the
            logits, keeps its dtype, and so does the latent. See `lsrs_tf.sampling.cast_head`.
        images_per_draw: int, images that share their noise in a pass of the head, for 'fixed' only;
            16 of a `batch_size` of 256, for example, save most of the time of noise. Above 1 all
            images get the same noise. Each certificate is as valid as before, but whether they are
            wrong is not independent any more.
        batch_size: int, noisy samples in one pass of the head.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        A `CertificationResult`: a `MarginResult` for margins, a `SmoothedResult` otherwise.

    Raises:
        ValueError: if an image or a setting is not valid, or the encoder has no proven Lipschitz
            bound.

    Examples:
        >>> result = lsrs_tf.certify(model, images, n=200, verbose=0)
        >>> result.labels.shape, result.radii.shape
        ((4,), (4,))
        >>> bool((result.radii[result.labels == -1] == 0).all())
        True
    """
    # Refused by their kind before the encoder is proven, which may take minutes.
    total = number_of_images(images)
    certifier = Certifier(
        model,
        sigma=sigma,
        method=method,
        target_radii=target_radii,
        tolerance=tolerance,
        n0=n0,
        n=n,
        alpha=alpha,
        against=against,
        seed=seed,
        noise=noise,
        head_dtype=head_dtype,
        images_per_draw=images_per_draw,
        batch_size=batch_size,
    )
    if isinstance(images, np.ndarray | tf.Tensor | list | tuple):
        # All of them are there: one that is not valid is refused before hours of the others.
        collections.deque(each_image(images, certifier.image_shape), maxlen=0)
    made = certifier.certificates_of(enumerate(each_image(images, certifier.image_shape)))
    certificates = {
        index: certificate
        for index, certificate, _ in _with_progress(made, total, "certify", verbose)
    }
    return certifier.result_of([certificates[index] for index in range(len(certificates))])


def predict(
    model: LatentSmoothingModel,
    images: Images,
    *,
    sigma: float | None = None,
    n: int = 1_000,
    alpha: float = 0.001,
    seed: int = 0,
    head_dtype: HeadDtype | None = None,
    batch_size: int = 256,
    verbose: int = 1,
) -> NDArray[np.int64]:
    """Predicts the label of the smoothed classifier, without a radius.

    Cohen et al. (2019), algorithm PREDICT: far fewer samples than a certificate needs. With
    probability at least 1 - alpha the label is that of the smoothed classifier, or -1. Samples that
    vote for no class, because of a tie or of logits that are not finite, count for the runner-up.

    Args:
        model: as for `certify`.
        images: as for `certify`.
        sigma: as for `certify`.
        n: int, noisy samples for each image.
        alpha: float in (0, 1), probability that one label differs from the smoothed classifier's.
        seed: as for `certify`.
        head_dtype: as for `certify`: with another one the label is that of another classifier.
        batch_size: as for `certify`.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        int64 array [images], -1 for abstention.

    Examples:
        >>> labels = lsrs_tf.predict(model, images, n=100, verbose=0)
        >>> labels.shape, labels.dtype
        ((4,), dtype('int64'))
    """
    alpha, n, seed = confidence.check_alpha(alpha), checked_count(n, "n"), checked_seed(seed)
    if not confidence.majority_is_significant(n, 0, alpha):
        raise ValueError(
            f"With n={n} samples no label is sure at alpha={alpha}, not even when all of them "
            "agree. Use more samples (1,000 is customary)."
        )
    total = number_of_images(images)
    classifier = SmoothedClassifier(model, sigma, batch_size, head_dtype=head_dtype)
    labels = []
    each = each_image(images, classifier.image_shape)
    encoded = encoded_images(classifier, enumerate(each))
    for _, image, latent, _ in _with_progress(encoded, total, "predict", verbose):
        (counts,) = classifier.count(image, latent, [(PREDICTION, n)], seed)
        labels.append(confidence.predicted_label(counts, n, alpha))
    return np.array(labels, np.int64)


def recertify(
    result: CertificationResult, alpha: float, against: Against = "half"
) -> CertificationResult:
    """Returns the certificates of a result at another alpha, or against another probability.

    The votes are the same, so that nothing is sampled. Choose the settings before you see the
    certificates: settings that are picked for them prove less than they say.

    Args:
        result: `CertificationResult` of `lsrs_tf.certify` with `method="fixed"`.
        alpha: float in (0, 1), probability that one certificate is wrong.
        against: 'half' or 'runner_up', see `lsrs_tf.certify`.

    Returns:
        A `CertificationResult`.

    Raises:
        ValueError: if a setting is impossible, or the samples were taken sequentially: how many
            there are then depends on the votes at the alpha of that time.

    Examples:
        >>> result = lsrs_tf.certify(model, images, n=200, verbose=0)
        >>> larger = lsrs_tf.recertify(result, alpha=0.1)
        >>> bool((larger.radii >= result.radii).all())
        True
    """
    if not isinstance(result, SmoothedResult):
        raise ValueError(
            "Certificates by margins are certain: there is no alpha to change, and nothing to do."
        )
    if result.settings.method != "fixed":
        raise ValueError(
            "Votes of sequential tests cannot be used at another alpha: their number depends on "
            "the alpha at which they were taken. Certify again, or use method='fixed'."
        )
    settings = dataclasses.replace(result.settings, alpha=alpha, against=against)
    labels = result.selection_counts.argmax(axis=1)
    proven = [
        result.scale.proven(
            counts, label, n=settings.n, alpha=settings.alpha, against=settings.against
        )
        for label, counts in zip(labels, result.counts, strict=True)
    ]
    radii, p_lower = np.array(proven, np.float64).reshape(-1, 2).T
    return dataclasses.replace(
        result,
        labels=np.where(radii > 0, labels, -1),
        radii=radii,
        p_lower=p_lower,
        settings=settings,
    )


def _with_progress(
    entries: Iterable[Entry], total: int | None, name: str, verbose: int
) -> Iterable[Entry]:
    return progress(entries, total=total, desc=name, unit="image", shown=bool(verbose))

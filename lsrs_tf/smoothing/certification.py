"""The two functions of a Keras pipeline: certified labels with radii, and labels alone."""

import numpy as np
from tqdm import tqdm

from lsrs_tf.smoothing import confidence, noise
from lsrs_tf.smoothing.certification_result import CertificationResult
from lsrs_tf.smoothing.certifier import Certifier
from lsrs_tf.smoothing.images import each_image, number_of_images
from lsrs_tf.smoothing.settings import checked_count, checked_seed
from lsrs_tf.smoothing.smoothed_classifier import SmoothedClassifier


def certify(
    model, images, sigma=None, n0=100, n=100_000, alpha=0.001, seed=0, batch_size=256, verbose=1
):
    """Certifies images: labels that no small perturbation can change, and how small.

    The same image, settings and seed give the same counts, whatever the other images are.

    Args:
        model: built `lsrs_tf.models.LatentSmoothingModel`. Its encoder is frozen for the call.
        images: array or tensor [images, height, width, channels] with floating point pixels in
            [0, 1], or a `tf.data.Dataset` of images, of batches, or of (image, label) pairs of
            either. Labels are not looked at.
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        n0: int, noisy samples that select the class.
        n: int, noisy samples that estimate its probability; the time is proportional to it.
        alpha: float in (0, 1), probability that the certificate of one image is wrong.
        seed: int, seed of the noise. Anybody who knows it can choose an image to fit the noise:
            where images may come from an adversary, draw a fresh one.
        batch_size: int, noisy samples in one pass of the head.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        A `CertificationResult`.

    Raises:
        ValueError: if an image or a setting is not valid, or the encoder has no proven Lipschitz
            bound.
    """
    certifier = Certifier(model, sigma, n0, n, alpha, seed, batch_size)
    classifier = certifier.classifier
    certificates = [
        certifier.certify(image)
        for image in _progress(images, classifier.image_shape, "certify", verbose)
    ]
    classes = classifier.num_classes
    return CertificationResult(
        labels=np.array([entry.label for entry in certificates], np.int64),
        radii=np.array([entry.radius for entry in certificates], np.float64),
        p_lower=np.array([entry.p_lower for entry in certificates], np.float64),
        counts=np.array([entry.counts for entry in certificates], np.int64).reshape(-1, classes),
        selection_counts=np.array(
            [entry.selection_counts for entry in certificates], np.int64
        ).reshape(-1, classes),
        sigma=classifier.sigma,
        n0=certifier.n0,
        n=certifier.n,
        alpha=certifier.alpha,
        seed=certifier.seed,
        lipschitz=classifier.lipschitz,
    )


def predict(model, images, sigma=None, n=1_000, alpha=0.001, seed=0, batch_size=256, verbose=1):
    """Predicts the label of the smoothed classifier, without a radius.

    Cohen et al. (2019), algorithm PREDICT: far fewer samples than a certificate needs. With
    probability at least 1 - alpha the label is that of the smoothed classifier, or -1.

    Args:
        model: as for `certify`.
        images: as for `certify`.
        sigma: as for `certify`.
        n: int, noisy samples for each image.
        alpha: float in (0, 1), probability that one label differs from the smoothed classifier's.
        seed: as for `certify`.
        batch_size: as for `certify`.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        int64 array [images], -1 for abstention.
    """
    alpha, n, seed = confidence.check_alpha(alpha), checked_count(n, "n"), checked_seed(seed)
    classifier = SmoothedClassifier(model, sigma, batch_size)
    labels = []
    for image in _progress(images, classifier.image_shape, "predict", verbose):
        (counts,) = classifier.count(image, [(noise.PREDICTION, n)], seed)
        second, first = np.sort(counts)[-2:]
        significant = confidence.majority_is_significant(int(first), int(second), alpha)
        labels.append(int(counts.argmax()) if significant else -1)
    return np.array(labels, np.int64)


def _progress(images, shape, name, verbose):
    return tqdm(
        each_image(images, shape),
        total=number_of_images(images),
        desc=name,
        unit="image",
        disable=not verbose,
    )

import math
import numbers
import time

import numpy as np
import tensorflow as tf

from lsrs_tf.smoothing.images import checked_image
from lsrs_tf.smoothing.noise import ESTIMATION, SELECTION
from lsrs_tf.smoothing.noise import stream as noise_stream
from lsrs_tf.smoothing.sequential import probability_needed, sequential_test
from lsrs_tf.smoothing.settings import checked_certification_settings, checked_seed
from lsrs_tf.smoothing.smoothed_classifier import SmoothedClassifier
from lsrs_tf.smoothing.undecided import Undecided


class SequentialCertifier:
    """Certifies images at target radii with as many samples as each one needs.

    n0 samples select a class, further ones go through a calibrated test for each radius, see
    `lsrs_tf.smoothing.sequential`; the certificate has the largest radius up to which all certify.
    Passes of the head are filled with samples of several images, so that an image that is decided
    costs nothing any more. Counts do not depend on what else is in a pass.

    Args:
        model: built `LatentSmoothingModel`. Its encoder is frozen here, its head is not: after
            more training make a new certifier.
        target_radii: float or floats above 0, L2 radii in units of pixels in [0, 1].
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        n0: int, samples that select the class.
        n: int, the most samples that estimate its probability.
        alpha: float in (0, 1), probability that one certificate is wrong.
        seed: int, seed of the noise.
        batch_size: int, noisy samples in one pass of the head.
        jit_compile: bool, whether XLA compiles the passes of the head, or None for where it pays:
            on a GPU.
        noise: 'float32' or 'exact', see `lsrs_tf.certify`.

    Attributes:
        classifier: the `SmoothedClassifier`.
        target_radii: tuple of floats, ascending.

    Raises:
        ValueError: if a setting is impossible, or a radius cannot be certified with n samples.
    """

    def __init__(
        self,
        model,
        target_radii,
        sigma=None,
        n0=100,
        n=100_000,
        alpha=0.001,
        seed=0,
        batch_size=256,
        jit_compile=None,
        noise="float32",
    ):
        self.n0, self.n, self.alpha = checked_certification_settings(n0, n, alpha)
        self.seed = checked_seed(seed)
        self.target_radii = checked_target_radii(target_radii)
        self.classifier = SmoothedClassifier(model, sigma, batch_size, jit_compile, noise)
        self._tests = [
            sequential_test(
                probability_needed(
                    radius,
                    self.classifier.sigma,
                    self.classifier.lipschitz,
                    self.classifier.radius_loss,
                ),
                self.n,
                self.alpha,
            )
            for radius in self.target_radii
        ]

    def certify(self, image):
        """Returns the `Certificate` of one image [height, width, channels], pixels in [0, 1].

        Raises:
            ValueError: if the image is not valid, see `images.checked_image`.
        """
        image = checked_image(image, self.classifier.image_shape, 0)
        ((_, certificate, _),) = self.certify_each([(0, image)])
        return certificate

    def certify_each(self, keys_and_images):
        """Yields certificates in the order in which they become known.

        Args:
            keys_and_images: iterable of (key, checked image); images are taken from it as passes
                have room for them.

        Yields:
            (key, `Certificate`, seconds that went into it).
        """
        waiting = iter(keys_and_images)
        active = []
        while True:
            self._fill(active, waiting)
            if not active:
                return
            self._one_pass(active)
            decided = [entry for entry in active if entry.certificate is not None]
            active = [entry for entry in active if entry.certificate is None]
            for entry in decided:
                yield entry.key, entry.certificate, entry.seconds

    def _fill(self, active, waiting):
        missing = self.classifier.batch_size - sum(entry.missing for entry in active)
        while missing > 0:
            try:
                key, image = next(waiting)
            except StopIteration:
                return
            entry = _Active(self, key, image)
            active.append(entry)
            missing -= entry.missing

    def _one_pass(self, active):
        start = time.perf_counter()
        room, requests = self.classifier.batch_size, []
        for entry in active:
            count = min(room, entry.missing)
            if count == 0:
                break
            requests.append((entry, count))
            room -= count
        votes = self.classifier.count_packed(
            [entry.latent for entry, _ in requests],
            [entry.stream for entry, _ in requests],
            [entry.undecided.taken for entry, _ in requests],
            [count for _, count in requests],
        )
        seconds = time.perf_counter() - start
        samples = sum(count for _, count in requests)
        for (entry, count), counts in zip(requests, votes, strict=True):
            entry.add(counts, count, seconds * count / samples)


class _Active:
    """An image whose samples are being taken."""

    def __init__(self, certifier, key, image):
        start = time.perf_counter()
        self.key = key
        self._certifier = certifier
        self._image = tf.convert_to_tensor(image, tf.float32)
        self.latent = certifier.classifier.encode(self._image)
        self.undecided = Undecided(
            certifier.target_radii,
            certifier._tests,
            certifier.n0,
            certifier.classifier.num_classes,
        )
        self.certificate = None
        self.stream = self._stream(SELECTION)
        self.seconds = time.perf_counter() - start

    @property
    def missing(self):
        return self.undecided.wanted - self.undecided.taken

    def add(self, counts, samples, seconds):
        was_selecting = self.undecided.selecting
        self.undecided.add(counts, samples)
        self.seconds += seconds
        if self.undecided.selecting:
            return
        if was_selecting:
            self.stream = self._stream(ESTIMATION)
        self.certificate = self.undecided.certificate()

    def _stream(self, purpose):
        return noise_stream(self._certifier.seed, self._image, purpose)


def checked_target_radii(target_radii):
    """Returns target radii as an ascending tuple of floats, or raises if one is impossible."""
    radii = np.ravel(target_radii).tolist()
    for radius in radii:
        number = isinstance(radius, numbers.Real) and not isinstance(radius, bool)
        if not (number and math.isfinite(radius) and radius > 0):
            raise ValueError(
                "`target_radii` must be numbers above 0, L2 radii in units of pixels in [0, 1]. "
                f"Received: target_radii={target_radii!r}"
            )
    if not radii or len(set(radii)) < len(radii):
        raise ValueError(
            "`target_radii` must be at least one radius, each of them once. "
            f"Received: target_radii={target_radii!r}"
        )
    return tuple(sorted(map(float, radii)))

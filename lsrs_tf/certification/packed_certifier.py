import time

import tensorflow as tf

from lsrs_tf.certification.images import checked_image
from lsrs_tf.certification.settings import checked_certification_settings, checked_seed
from lsrs_tf.sampling.random_streams import stream as noise_stream
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier


class PackedCertifier:
    """Base of the certifiers that take as many samples as each image needs.

    Passes of the head are filled with samples of several images, so that an image that is decided
    costs nothing any more. Counts do not depend on what else is in a pass.

    A subclass says what is to be sampled, by `new_undecided`.

    Args:
        model: built `LatentSmoothingModel`. Its encoder is frozen here, its head is not: after
            more training make a new certifier.
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

    Raises:
        ValueError: if a setting is impossible.
    """

    method = "sequential"
    target_radii = None
    tolerance = None
    shared_noise = False
    against = "half"

    def __init__(self, model, sigma, n0, n, alpha, seed, batch_size, jit_compile, noise):
        self.n0, self.n, self.alpha = checked_certification_settings(n0, n, alpha)
        self.seed = checked_seed(seed)
        self.classifier = SmoothedClassifier(model, sigma, batch_size, jit_compile, noise)

    def new_undecided(self, clean_label):
        """Returns what decides about one image, such as `Undecided`; to be overridden.

        Args:
            clean_label: int, see `Certificate`.
        """
        raise NotImplementedError

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
        missing = self.classifier.pass_size - sum(entry.missing for entry in active)
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
        room, requests = self.classifier.pass_size, []
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
        self.undecided = certifier.new_undecided(certifier.classifier.clean_label(self.latent))
        self.certificate = None
        self._purpose = self.undecided.purpose
        self.stream = self._stream()
        self.seconds = time.perf_counter() - start

    @property
    def missing(self):
        return self.undecided.wanted - self.undecided.taken

    def add(self, counts, samples, seconds):
        self.undecided.add(counts, samples)
        self.certificate = self.undecided.certificate()
        self.seconds += seconds
        if self.undecided.purpose != self._purpose:
            self._purpose = self.undecided.purpose
            self.stream = self._stream()

    def _stream(self):
        return noise_stream(self._certifier.seed, self._image, self._purpose)

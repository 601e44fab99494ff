import itertools
import time

from lsrs_tf.certification.certificate import Certificate
from lsrs_tf.certification.images import checked_image
from lsrs_tf.certification.recertification import recertified
from lsrs_tf.certification.settings import (
    checked_against,
    checked_certification_settings,
    checked_count,
    checked_seed,
)
from lsrs_tf.sampling.random_streams import ESTIMATION, SELECTION
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier


class Certifier:
    """Certifies images one at a time with a fixed number of samples.

    Cohen et al. (2019), algorithm CERTIFY, in the latent (LS-RS paper, theorem 1): n0 samples
    select a class, n other samples bound its probability from below, and the radius in the latent
    is divided by the encoder's Lipschitz bound.

    Args:
        model: built `LatentSmoothingModel`. Its encoder is frozen here, its head is not: after
            more training make a new certifier.
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        n0: int, samples that select the class.
        n: int, samples that estimate its probability.
        alpha: float in (0, 1), probability that one certificate is wrong.
        seed: int, seed of the noise.
        batch_size: int, noisy samples in one pass of the head.
        jit_compile: bool, whether XLA compiles the passes of the head, or None for where it pays:
            on a GPU.
        noise: 'float32' or 'exact', see `lsrs_tf.certify`.
        images_per_draw: int, images that share their noise, see `lsrs_tf.certify`.
        against: 'half' or 'runner_up', see `lsrs_tf.certify`.

    Attributes:
        classifier: the `SmoothedClassifier`.
        shared_noise: bool, whether images share their noise.

    Raises:
        ValueError: if a setting is impossible, or n too small ever to certify at this alpha.
    """

    method = "fixed"
    target_radii = None
    tolerance = None

    def __init__(
        self,
        model,
        sigma=None,
        n0=100,
        n=100_000,
        alpha=0.001,
        seed=0,
        batch_size=256,
        jit_compile=None,
        noise="float32",
        images_per_draw=1,
        against="half",
    ):
        self.against = checked_against(against)
        self.n0, self.n, self.alpha = checked_certification_settings(n0, n, alpha, against)
        self.seed = checked_seed(seed)
        self._images_per_draw = checked_count(images_per_draw, "images_per_draw")
        # Shared noise is the same for any number of images.
        self.shared_noise = self._images_per_draw > 1
        if self._images_per_draw > checked_count(batch_size, "batch_size"):
            raise ValueError(
                "`images_per_draw` must be at most `batch_size`, the noisy samples in one pass of "
                f"the head. Received: images_per_draw={images_per_draw}, batch_size={batch_size}"
            )
        self.classifier = SmoothedClassifier(model, sigma, batch_size, jit_compile, noise)
        self.classifier.check_shared(self._images_per_draw)

    def certify(self, image):
        """Returns the `Certificate` of one image [height, width, channels], pixels in [0, 1].

        Raises:
            ValueError: if the image is not valid, see `images.checked_image`.
        """
        return self._certificate_of_image(checked_image(image, self.classifier.image_shape, 0))

    def certify_each(self, keys_and_images):
        """Yields certificates in the order of the images.

        Args:
            keys_and_images: iterable of (key, checked image).

        Yields:
            (key, `Certificate`, seconds that went into it).
        """
        if not self.shared_noise:
            for key, image in keys_and_images:
                start = time.perf_counter()
                certificate = self._certificate_of_image(image)
                yield key, certificate, time.perf_counter() - start
            return
        waiting = iter(keys_and_images)
        while group := list(itertools.islice(waiting, self._images_per_draw)):
            start = time.perf_counter()
            certificates = self._certificates_of_group([image for _, image in group])
            seconds = (time.perf_counter() - start) / len(group)
            for (key, _), certificate in zip(group, certificates, strict=True):
                yield key, certificate, seconds

    def _certificate_of_image(self, image):
        if self.shared_noise:
            return self._certificates_of_group([image])[0]
        latent = self.classifier.encode(image)
        return self._certificate(
            latent,
            *self.classifier.count(
                image, latent, [(SELECTION, self.n0), (ESTIMATION, self.n)], self.seed
            ),
        )

    def _certificates_of_group(self, images):
        latents = [self.classifier.encode(image) for image in images]
        selection_counts, counts = (
            self.classifier.count_shared(latents, purpose, samples, self.seed)
            for purpose, samples in ((SELECTION, self.n0), (ESTIMATION, self.n))
        )
        return list(map(self._certificate, latents, selection_counts, counts))

    def _certificate(self, latent, selection_counts, counts):
        label, radius, p_lower = recertified(
            selection_counts,
            counts,
            self.n,
            self.alpha,
            *self.classifier.radius_scale,
            self.against,
        )
        return Certificate(
            label=label,
            clean_label=self.classifier.clean_label(latent),
            radius=radius,
            p_lower=p_lower,
            counts=counts,
            selection_counts=selection_counts,
            samples=self.n0 + self.n,
        )

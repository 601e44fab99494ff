import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, Unpack, cast

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from lsrs_tf.certification.certificate import (
    Certificate,
    CertificationResult,
    MarginCertificate,
    MarginResult,
    SmoothedCertificate,
    SmoothedResult,
)
from lsrs_tf.certification.decisions import decisions
from lsrs_tf.certification.encoded_images import EncodedImage, encoded_images
from lsrs_tf.certification.images import Images, checked_image, each_image, number_of_images
from lsrs_tf.certification.margin_certificates import margin_certificates
from lsrs_tf.certification.sampled_image import SampledImage
from lsrs_tf.certification.settings import Settings, SettingsArguments
from lsrs_tf.certification.shared_noise_certificates import shared_noise_certificates
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

# A stage of at least so many passes is counted in one call, without other images.
_LONG = 2

Key = TypeVar("Key")


class Certifier:
    """Certifies images one at a time, or many with shared passes.

    It holds a frozen copy of the encoder and the proof of its Lipschitz bound, so that many calls
    share them. Passes of the head are filled with samples of several images: an image that is
    decided costs nothing more. Counts do not depend on what else is in a pass.

    Args:
        model: built `LatentSmoothingModel`. Its encoder is frozen here, its head is not: after
            more training make a new certifier.
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        jit_compile: bool, whether XLA compiles the passes of the head, or None for where it pays:
            on a GPU.
        **settings: fields of `Settings`, as in `lsrs_tf.certify`: `method`, `n`, `alpha`, ...

    Attributes:
        settings: `Settings`.
        image_shape: tuple, (height, width, channels).

    Raises:
        ValueError: if a setting is impossible, or the encoder has no proven bound; for margins,
            also if the head has none.

    Examples:
        >>> certifier = lsrs_tf.Certifier(model, n=200)
        >>> certificate = certifier.certify(images[0])
        >>> certificate.samples
        300
        >>> len(list(certifier.certify_each(images)))
        4
    """

    def __init__(
        self,
        model: LatentSmoothingModel,
        *,
        sigma: float | None = None,
        jit_compile: bool | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        # Settings keep a tuple of what may be any sequence here.
        self.settings = Settings(**settings)  # pyright: ignore[reportArgumentType]
        if self.settings.method == "margin":
            self._classifier = _base_classifier(model, sigma)
        else:
            used = self.settings
            self._classifier = SmoothedClassifier(
                model, sigma, used.batch_size, jit_compile, used.noise, used.head_dtype
            )
            self._classifier.check_shared(self.settings.images_per_draw)
            self._decision = decisions(
                self.settings, self._classifier.radius_scale, self._classifier.num_classes
            )
        self.image_shape = self._classifier.image_shape

    @property
    def classifier(self) -> SmoothedClassifier:
        """The `SmoothedClassifier`; margins have none."""
        if not isinstance(self._classifier, SmoothedClassifier):
            raise ValueError(
                "A certifier of method='margin' has no smoothed classifier; its certificates are "
                "about the `base_classifier`."
            )
        return self._classifier

    @property
    def base_classifier(self) -> BaseClassifier:
        """The `BaseClassifier`, of margins only."""
        if not isinstance(self._classifier, BaseClassifier):
            raise ValueError(
                f"A certifier of method={self.settings.method!r} certifies its smoothed "
                "`classifier`; method='margin' certifies a base classifier."
            )
        return self._classifier

    def columns(self) -> dict[str, object]:
        """Returns what a row of a certification file says of how it was made."""
        columns = self.settings.columns()
        if isinstance(self._classifier, BaseClassifier):
            return {
                **columns,
                "radius_loss": self._classifier.margin_scale.loss,
                "lipschitz": self._classifier.lipschitz_report.bound,
            }
        scale = self._classifier.radius_scale
        return {
            **{name: columns.pop(name) for name in ("method", "target_radii", "tolerance")},
            "sigma": scale.sigma,
            **columns,
            "radius_loss": scale.loss,
            "lipschitz": scale.lipschitz,
        }

    def result_of(self, certificates: Sequence[Certificate]) -> CertificationResult:
        """Returns the result that holds certificates of this certifier."""
        if isinstance(self._classifier, BaseClassifier):
            return MarginResult.of_certificates(
                cast(Sequence[MarginCertificate], certificates),
                self.settings,
                self._classifier.margin_scale,
            )
        return SmoothedResult.of_certificates(
            cast(Sequence[SmoothedCertificate], certificates),
            self._classifier.num_classes,
            self.settings,
            self._classifier.radius_scale,
        )

    def warm_up(self) -> None:
        """Traces and compiles, so that the time of the first image is that of any other."""
        if isinstance(self._classifier, BaseClassifier):
            self._classifier.batch_logits(tf.zeros([1, *self.image_shape]))
            return
        self.classifier.warm_up()
        if self.settings.method != "fixed":
            self.classifier.warm_up_packed()

    def certify(self, image: ArrayLike | tf.Tensor) -> Certificate:
        """Returns the `Certificate` of one image [height, width, channels], pixels in [0, 1].

        Raises:
            ValueError: if the image is not valid, see `images.checked_image`.
        """
        ((_, certificate, _),) = self.certificates_of([(0, np.asarray(image))])
        return certificate

    def certify_each(self, images: Images) -> Iterator[Certificate]:
        """Yields the certificates of images, in their order, as they become known.

        Args:
            images: as for `lsrs_tf.certify`; they are read as passes have room for them.

        Yields:
            `Certificate`.

        Raises:
            ValueError: if an image is not valid; certificates before it have been yielded.
        """
        number_of_images(images)
        # Images are decided in another order than they come in; early ones wait for those before.
        early: dict[int, Certificate] = {}
        following = 0
        pairs = enumerate(each_image(images, self.image_shape))
        for index, certificate, _ in self.certificates_of(pairs):
            early[index] = certificate
            while following in early:
                yield early.pop(following)
                following += 1

    def certificates_of(
        self, keys_and_images: Iterable[tuple[Key, NDArray[np.float32]]]
    ) -> Iterator[tuple[Key, Certificate, float]]:
        """Yields certificates in the order in which they become known, with keys.

        Args:
            keys_and_images: iterable of (key, image [height, width, channels]); images are taken
                from it as passes have room for them.

        Yields:
            (key, `Certificate`, seconds that went into it).

        Raises:
            ValueError: if an image is not valid, see `images.checked_image`; the key names it.
        """
        keys_and_images = (
            (key, checked_image(image, self.image_shape, key)) for key, image in keys_and_images
        )
        if self.settings.method == "margin":
            yield from margin_certificates(self.base_classifier, keys_and_images)
            return
        waiting = encoded_images(self.classifier, keys_and_images)
        if self.settings.shared_noise:
            yield from shared_noise_certificates(
                self.classifier, self._decision, self.settings, waiting
            )
            return
        active: list[SampledImage[Key]] = []
        error: Exception | None = None
        while True:
            try:
                self._fill(active, waiting)
            except Exception as raised:
                # What was read before it is certified first.
                error, waiting = raised, iter(())
            if not active:
                break
            self._sample(active)
            for entry in active:
                if entry.certificate is not None:
                    yield entry.key, entry.certificate, entry.seconds
            active = [entry for entry in active if entry.certificate is None]
        if error is not None:
            raise error

    def _fill(
        self,
        active: list[SampledImage[Key]],
        waiting: Iterator[EncodedImage[Key]],
    ) -> None:
        missing = self.classifier.pass_size - sum(entry.decision.missing for entry in active)
        while missing > 0:
            encoded = next(waiting, None)
            if encoded is None:
                return
            entry = SampledImage(encoded, self.classifier, self._decision, self.settings.seed)
            active.append(entry)
            missing -= entry.decision.missing

    def _sample(self, active: list[SampledImage[Key]]) -> None:
        """Takes samples of one long stage, or a pass of samples of several images."""
        first = active[0]
        # With a fixed number of samples there is next to nothing to share.
        long = (
            self.settings.method == "fixed"
            or first.decision.missing >= _LONG * self.classifier.pass_size
        )
        start = time.perf_counter()
        if first.decision.taken == 0 and long:
            samples = first.decision.missing
            (counts,) = self.classifier.count(
                first.image, first.latent, [(first.purpose, samples)], self.settings.seed
            )
            first.add(counts, samples, time.perf_counter() - start)
            return
        room, requests = self.classifier.pass_size, []
        for entry in active:
            count = min(room, entry.decision.missing)
            if count == 0:
                break
            requests.append((entry, count))
            room -= count
        votes = self.classifier.count_packed(
            [entry.latent for entry, _ in requests],
            [entry.stream for entry, _ in requests],
            [entry.decision.taken for entry, _ in requests],
            [count for _, count in requests],
        )
        seconds = time.perf_counter() - start
        samples = sum(count for _, count in requests)
        for (entry, count), counts in zip(requests, votes, strict=True):
            entry.add(counts, count, seconds * count / samples)


def _base_classifier(model: LatentSmoothingModel, sigma: float | None) -> BaseClassifier:
    if sigma is not None:
        raise ValueError(
            "`method='margin'` certifies the base classifier, without noise: leave out `sigma`. "
            f"Received: sigma={sigma!r}"
        )
    return BaseClassifier(model)

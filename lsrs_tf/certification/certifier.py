import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, Unpack

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from lsrs_tf.certification.certificate import Certificate
from lsrs_tf.certification.decisions import decisions
from lsrs_tf.certification.images import Images, checked_image, each_image, number_of_images
from lsrs_tf.certification.settings import Settings, SettingsArguments
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.sampling.random_streams import stream as random_stream
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
        classifier: the `SmoothedClassifier`.

    Raises:
        ValueError: if a setting is impossible, or the encoder has no proven bound.
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
        self.classifier = SmoothedClassifier(
            model, sigma, self.settings.batch_size, jit_compile, self.settings.noise
        )
        self.classifier.check_shared(self.settings.images_per_draw)
        self._decision = decisions(
            self.settings, self.classifier.radius_scale, self.classifier.num_classes
        )

    def columns(self) -> dict[str, object]:
        """Returns what a row of a certification file says of how it was made."""
        scale = self.classifier.radius_scale
        columns = self.settings.columns()
        return {
            **{name: columns.pop(name) for name in ("method", "target_radii", "tolerance")},
            "sigma": scale.sigma,
            **columns,
            "radius_loss": scale.loss,
            "lipschitz": scale.lipschitz,
        }

    def warm_up(self) -> None:
        """Traces and compiles, so that the time of the first image is that of any other."""
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
        pairs = enumerate(each_image(images, self.classifier.image_shape))
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
        shape = self.classifier.image_shape
        keys_and_images = (
            (key, checked_image(image, shape, key)) for key, image in keys_and_images
        )
        if self.settings.shared_noise:
            yield from self._in_groups(keys_and_images)
            return
        waiting = keys_and_images
        active: list[_Active[Key]] = []
        while True:
            self._fill(active, waiting)
            if not active:
                return
            self._sample(active)
            for entry in active:
                if entry.certificate is not None:
                    yield entry.key, entry.certificate, entry.seconds
            active = [entry for entry in active if entry.certificate is None]

    def _fill(
        self,
        active: list["_Active[Key]"],
        waiting: Iterator[tuple[Key, NDArray[np.float32]]],
    ) -> None:
        missing = self.classifier.pass_size - sum(entry.decision.missing for entry in active)
        while missing > 0:
            try:
                key, image = next(waiting)
            except StopIteration:
                return
            entry = _Active(self, key, image)
            active.append(entry)
            missing -= entry.decision.missing

    def _sample(self, active: list["_Active[Key]"]) -> None:
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

    def _in_groups(
        self, waiting: Iterator[tuple[Key, NDArray[np.float32]]]
    ) -> Iterator[tuple[Key, Certificate, float]]:
        """Yields the certificates of images that share their noise, some of them at a time."""
        while group := list(itertools.islice(waiting, self.settings.images_per_draw)):
            start = time.perf_counter()
            latents = [self.classifier.encode(image) for _, image in group]
            made = [self._decision(self.classifier.clean_label(latent)) for latent in latents]
            # The last group gets the shape of passes in which the head has been checked.
            latents += [latents[-1]] * (self.settings.images_per_draw - len(group))
            while made[0].certificate() is None:
                purpose, samples = made[0].purpose, made[0].missing
                votes = self.classifier.count_shared(latents, purpose, samples, self.settings.seed)
                for decision, counts in zip(made, votes[: len(made)], strict=True):
                    decision.add(counts, samples)
            seconds = (time.perf_counter() - start) / len(group)
            for (key, _), decision in zip(group, made, strict=True):
                certificate = decision.certificate()
                # Fixed numbers of samples are complete for all of a group at once.
                assert certificate is not None
                yield key, certificate, seconds


class _Active(Generic[Key]):
    """An image whose samples are being taken."""

    def __init__(self, certifier: Certifier, key: Key, image: NDArray[np.float32]) -> None:
        start = time.perf_counter()
        self.key = key
        self.certificate: Certificate | None = None
        self._seed = certifier.settings.seed
        self.image = tf.convert_to_tensor(image, tf.float32)
        self.latent = certifier.classifier.encode(self.image)
        self.decision = certifier._decision(certifier.classifier.clean_label(self.latent))
        self.purpose: int | None = None
        self._enter_stage()
        self.seconds = time.perf_counter() - start

    def add(self, counts: NDArray[np.int64], samples: int, seconds: float) -> None:
        """Adds the votes [classes] of so many samples that took these seconds."""
        self.decision.add(counts, samples)
        self.certificate = self.decision.certificate()
        self.seconds += seconds
        self._enter_stage()

    def _enter_stage(self) -> None:
        if self.decision.purpose != self.purpose:
            self.purpose = self.decision.purpose
            self.stream = random_stream(self._seed, self.image, self.purpose)

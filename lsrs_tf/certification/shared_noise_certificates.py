"""Certificates of images that share their noise, some of them at a time."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lsrs_tf.certification.certificate import SmoothedCertificate
from lsrs_tf.certification.decisions import Decision
from lsrs_tf.certification.encoded_images import EncodedImage, in_groups
from lsrs_tf.certification.settings import Settings
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

Key = TypeVar("Key")


def shared_noise_certificates(
    classifier: SmoothedClassifier,
    decide: Callable[[int], Decision],
    settings: Settings,
    waiting: Iterator[EncodedImage[Key]],
) -> Iterator[tuple[Key, SmoothedCertificate, float]]:
    """Yields the certificates of images, `images_per_draw` at a time, in their order.

    Args:
        classifier: `SmoothedClassifier`.
        decide: function of a clean label that makes the `Decision` of an image.
        settings: `Settings`.
        waiting: iterator of `EncodedImage`. If it raises, the certificates of the images before
            that come first.

    Yields:
        (key, `SmoothedCertificate`, seconds that went into it).
    """
    for group in in_groups(waiting, lambda: settings.images_per_draw):
        yield from _certificates(classifier, decide, settings, group)


def _certificates(classifier, decide, settings, group):
    start = time.perf_counter()
    latents = [encoded.latent for encoded in group]
    made = [decide(classifier.clean_label(latent)) for latent in latents]
    # The last group gets the shape of passes in which the head has been checked.
    latents += [latents[-1]] * (settings.images_per_draw - len(group))
    while made[0].certificate() is None:
        purpose, samples = made[0].purpose, made[0].missing
        votes = classifier.count_shared(latents, purpose, samples, settings.seed)
        for decision, counts in zip(made, votes[: len(made)], strict=True):
            decision.add(counts, samples)
    seconds = (time.perf_counter() - start) / len(group)
    for encoded, decision in zip(group, made, strict=True):
        certificate = decision.certificate()
        # Fixed numbers of samples are complete for all of a group at once.
        assert certificate is not None
        yield encoded.key, certificate, encoded.seconds + seconds

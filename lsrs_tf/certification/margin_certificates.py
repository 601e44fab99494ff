"""Certificates of the base classifier, whose images are evaluated in groups."""

import time
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.certification.certificate import MarginCertificate
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.statistics.margin_scale import largest

Key = TypeVar("Key")


def margin_certificates(
    classifier: BaseClassifier, waiting: Iterator[tuple[Key, NDArray[np.float32]]]
) -> Iterator[tuple[Key, MarginCertificate, float]]:
    """Yields certificates by margins, in the order of the images.

    Args:
        classifier: `BaseClassifier`.
        waiting: iterator of (key, checked image). If it raises, the certificates of the images
            before that come first.

    Yields:
        (key, `MarginCertificate`, seconds that went into it).
    """
    error: Exception | None = None
    while error is None:
        group: list[tuple[Key, NDArray[np.float32]]] = []
        try:
            while len(group) < classifier.rows_together:
                group.append(next(waiting))
        except StopIteration as end:
            error = end
        except ValueError as refused:
            error = refused
        if group:
            start = time.perf_counter()
            rows = classifier.batch_logits(np.stack([image for _, image in group]))
            certificates = [_certificate(logits, classifier) for logits in rows]
            seconds = (time.perf_counter() - start) / len(group)
            for (key, _), certificate in zip(group, certificates, strict=True):
                yield key, certificate, seconds
    if not isinstance(error, StopIteration):
        raise error


def _certificate(logits: NDArray[np.float64], classifier: BaseClassifier) -> MarginCertificate:
    proof = classifier.margin_scale.proven(logits)
    return MarginCertificate(
        label=proof.label,
        clean_label=largest(logits),
        radius=proof.radius,
        logits=logits,
        rival=proof.rival,
        margin=proof.margin,
        pair_lipschitz=proof.pair_lipschitz,
    )

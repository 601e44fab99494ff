import time
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.certification.certificate import SmoothedCertificate
from lsrs_tf.certification.decisions import Decision
from lsrs_tf.certification.encoded_images import EncodedImage
from lsrs_tf.sampling.random_streams import stream as random_stream
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

Key = TypeVar("Key")


class SampledImage(Generic[Key]):
    """An image whose samples are being taken, in stages.

    Args:
        encoded: `EncodedImage`.
        classifier: `SmoothedClassifier`.
        decide: function of the clean label that makes the `Decision`.
        seed: int, seed of the noise.

    Attributes:
        key: what the image is known by.
        image: float32 tensor.
        latent: float32 tensor, its latent.
        purpose: the present stage, see `random_streams`.
        decision: the `Decision`.
        certificate: the `SmoothedCertificate`, None as long as it is unknown.
        seconds: float, time that went into it so far.
    """

    def __init__(
        self,
        encoded: EncodedImage[Key],
        classifier: SmoothedClassifier,
        decide: Callable[[int], Decision],
        seed: int,
    ) -> None:
        start = time.perf_counter()
        self.key = encoded.key
        self.certificate: SmoothedCertificate | None = None
        self._seed = seed
        self.image = tf.convert_to_tensor(encoded.image, tf.float32)
        self.latent = encoded.latent
        self.decision = decide(classifier.clean_label(self.latent))
        self.purpose: int | None = None
        self._enter_stage()
        self.seconds = encoded.seconds + time.perf_counter() - start

    @property
    def stream(self) -> tf.Tensor:
        """The random stream of the present stage, a uint64 tensor [3].

        It is made when a pass asks for it: long stages, whose counts come from one call, do not.
        """
        if self._stream is None:
            self._stream = random_stream(self._seed, self.image, self.purpose)
        return self._stream

    def add(self, counts: NDArray[np.int64], samples: int, seconds: float) -> None:
        """Adds the votes [classes] of so many samples that took these seconds."""
        self.decision.add(counts, samples)
        self.certificate = self.decision.certificate()
        self.seconds += seconds
        self._enter_stage()

    def _enter_stage(self) -> None:
        if self.decision.purpose != self.purpose:
            self.purpose = self.decision.purpose
            self._stream: tf.Tensor | None = None

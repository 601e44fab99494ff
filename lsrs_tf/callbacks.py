"""Callbacks for Keras' `fit`."""

from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.functions import certify
from lsrs_tf.certification.images import Images, number_of_images
from lsrs_tf.certification.settings import (
    Settings,
    SettingsArguments,
    TargetRadii,
    checked_target_radii,
)
from lsrs_tf.evaluation import certified_accuracy, distance_report
from lsrs_tf.statistics.confidence import checked_count


class CertifiedAccuracy(keras.callbacks.Callback):
    """Reports certified accuracy during `fit`, as `certified_accuracy_0.25` and so on in the logs.

    Sequential tests with few samples make it cheap: what they certify is certified, with error
    alpha for each image, but images that would need more than n samples count as failures. A
    radius that n samples cannot reach is refused when training begins.

    Args:
        images: images with pixels in [0, 1], as for `lsrs_tf.certify`; they are read again at every
            report, in the same order.
        labels: int array [images], their true classes.
        radii: float or floats above 0, L2 radii in input space.
        method: 'sequential', or 'margin' for the base classifier, whose head needs bounds then; it
            takes no samples, and n, alpha and seed are not used.
        n: int, the most samples per image.
        alpha: float in (0, 1), probability that the certificate of one image is wrong.
        every_epochs: int, after how many epochs it reports again.
        seed: int, seed of the noise.

    Examples:
        >>> report = lsrs_tf.callbacks.CertifiedAccuracy(images, labels, radii=0.25, n=200)
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(images, labels, callbacks=[report], verbose=0)
        >>> sorted(history.history)
        ['certified_accuracy_0.25', 'loss']
    """

    def __init__(
        self,
        images: Images,
        labels: ArrayLike,
        radii: TargetRadii,
        *,
        method: Literal["sequential", "margin"] = "sequential",
        n: int = 1_000,
        alpha: float = 0.001,
        every_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._images, self._labels = images, np.asarray(labels)
        # Batches do not tell how many there are before they have been read.
        self._check_labels(number_of_images(images))
        self._radii = checked_target_radii(radii)
        self._settings: SettingsArguments = {"method": method}
        if method != "margin":
            self._settings.update(target_radii=self._radii, n=n, alpha=alpha, seed=seed)
        Settings(**self._settings)  # pyright: ignore[reportArgumentType]
        self._every_epochs = checked_count(every_epochs, "every_epochs")

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Raises where a radius or the encoder could not be certified, before hours of training."""
        Certifier(self.model, **self._settings)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Certifies the images, and adds the accuracies to the logs."""
        if (epoch + 1) % self._every_epochs or logs is None:
            return
        # Keras sets it before training begins.
        assert self.model is not None
        result = certify(
            self.model,
            self._images,
            **self._settings,
            verbose=0,
        )
        self._check_labels(len(result.labels))
        correct = result.labels == self._labels
        for radius in self._radii:
            accuracy = certified_accuracy(result.radii, correct, radius)
            logs[f"certified_accuracy_{radius:g}"] = accuracy

    def _check_labels(self, images: int | None) -> None:
        of_each = images is None or self._labels.shape == (images,)
        if self._labels.ndim != 1 or not self._labels.size or not of_each:
            raise ValueError(
                "CertifiedAccuracy needs one label for each image, and at least one image. "
                f"Received: {images} images, labels of shape {self._labels.shape}"
            )


class KeptDistances(keras.callbacks.Callback):
    """Reports during `fit` how much of the distances between images the encoder keeps.

    The shares come as `kept_between_classes` and `kept_perturbations` in the logs, which the
    callbacks behind this one (`keras.callbacks.TensorBoard`, for instance) write. They are measured
    and prove nothing; see `lsrs_tf.evaluation.distance_report`.

    Args:
        images: float array [images, height, width, channels], pixels in [0, 1]; some hundred are
            enough.
        labels: int array [images], of at least two classes.
        every_epochs: int, after how many epochs it reports again.
        seed: int, for pairs of images and perturbations.

    Examples:
        >>> kept = lsrs_tf.callbacks.KeptDistances(images, labels)
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(images, labels, callbacks=[kept], verbose=0).history
        >>> sorted(history)[:2]
        ['kept_between_classes', 'kept_perturbations']
    """

    def __init__(
        self, images: ArrayLike, labels: ArrayLike, *, every_epochs: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self._data = (images, labels)
        self._every_epochs = checked_count(every_epochs, "every_epochs")
        self._seed = seed

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures, and adds the shares to the logs."""
        if (epoch + 1) % self._every_epochs or logs is None:
            return
        # Keras sets it before training begins.
        assert self.model is not None
        whole = distance_report(self.model, *self._data, seed=self._seed).whole
        logs["kept_between_classes"] = whole.between_classes
        logs["kept_perturbations"] = whole.perturbations

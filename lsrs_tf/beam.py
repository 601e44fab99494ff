"""Certification as a transform of Apache Beam, for pipelines on one machine or many.

It needs `pip install -e ".[beam]"`, and is imported only where it is asked for:

    import lsrs_tf.beam

    certified, failed = keys_and_images | lsrs_tf.beam.Certify("model.keras", n=10_000)
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, Unpack

try:
    import apache_beam as beam
    from apache_beam.utils.shared import Shared
except ImportError as error:
    raise ImportError(
        f"lsrs_tf.beam needs Apache Beam, which is not installed ({error}). Install it with "
        '`pip install -e ".[beam]"`.'
    ) from error

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.certification.certificate import Certificate
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.settings import Settings, SettingsArguments
from lsrs_tf.models.fingerprints import fingerprint

Key = TypeVar("Key")

# The names of the outputs: certificates, and images that have none.
CERTIFIED, FAILED = "certified", "failed"
# Passes of the head are filled with samples of so many images at most.
_IMAGES_TOGETHER = 32
# What says that one image, or what a model makes of it, is not valid. Anything else, such as too
# little memory, is for the engine to try again.
_OF_AN_IMAGE = (ValueError, TypeError, ArithmeticError, tf.errors.InvalidArgumentError)


class Certify(beam.PTransform):
    """Certifies images: (key, image) becomes (key, `Certificate`).

    Every worker process loads the model and proves its bound once. Certificates are those of
    `lsrs_tf.Certifier` to the last bit, whichever worker makes them and however often an engine
    tries: the noise depends on image, seed and purpose alone. (Between kinds of processors the head
    may round otherwise, as without Beam.)

    Args:
        model: path of a `.keras` file of a `LatentSmoothingModel`, which all workers can read.
        sigma: float above 0, or None for the model's.
        expected: dict of what every worker must find, or None: `model`, the fingerprint of the
            model (`lsrs_tf.models.fingerprints.fingerprint`), and what `Certifier.columns` says. A
            worker that finds otherwise, because of another file or another version, raises.
        timed: bool, whether to give (key, (`Certificate`, seconds)).
        **settings: fields of `Settings`, as in `lsrs_tf.certify`: `method`, `n`, `alpha`, ...

    Returns:
        Two collections, `certified`, and `failed`, pairs (key, message) of images that have no
        certificate because they are not valid: the others are not lost.

    Raises:
        ValueError: if a setting is impossible; on the workers, if the model cannot be read or is
            not what is expected. That ends the pipeline, when the engine has tried often enough.

    Example of a pipeline:

        with apache_beam.Pipeline() as pipeline:
            pairs = pipeline | apache_beam.Create(list(enumerate(images)))
            certified, failed = pairs | lsrs_tf.beam.Certify("model.keras", n=10_000)
            radii = certified | apache_beam.MapTuple(lambda key, found: (key, found.radius))
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        sigma: float | None = None,
        expected: Mapping[str, object] | None = None,
        timed: bool = False,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        super().__init__()
        # Refused here, before anything is started.
        Settings(**settings)  # pyright: ignore[reportArgumentType]
        self._dofn = _CertifyBatches(os.fspath(model), sigma, expected, timed, settings)

    def expand(self, input_or_inputs):
        """Applies the transform to a collection of (key, image)."""
        return (
            input_or_inputs
            | "Batch" >> beam.BatchElements(min_batch_size=1, max_batch_size=_IMAGES_TOGETHER)
            | "Certify" >> beam.ParDo(self._dofn).with_outputs(FAILED, main=CERTIFIED)
        )


class _CertifyBatches(beam.DoFn):
    """Certifies lists of (key, image); for the arguments see `Certify`."""

    def __init__(self, model, sigma, expected, timed, settings):
        super().__init__()
        self._model, self._sigma, self._settings = model, sigma, settings
        self._expected = None if expected is None else dict(expected)
        self._timed = timed
        # One certifier for all threads of a process, and all copies of this object in it.
        self._shared = Shared()
        self._worker = None

    def setup(self):
        """Loads the model, unless this process has it."""
        self._worker = self._shared.acquire(
            lambda: _Worker(self._model, self._sigma, self._expected, self._settings)
        )

    def process(self, element):
        """Yields (key, certificate), and failures with their tag."""
        assert self._worker is not None
        for key, outcome, seconds in self._worker.outcomes(element):
            if isinstance(outcome, Exception):
                yield beam.pvalue.TaggedOutput(FAILED, (key, str(outcome)))
            else:
                yield key, (outcome, seconds) if self._timed else outcome

    def __getstate__(self):
        # What one process has loaded stays there.
        return {**self.__dict__, "_worker": None}


class _Worker:
    """What a worker process holds: one certifier, used by one thread at a time."""

    def __init__(self, path, sigma, expected, settings):
        self._lock = threading.Lock()
        model = _loaded(path)
        self._certifier = Certifier(model, sigma=sigma, **settings)
        _check_expected(expected, {**self._certifier.columns(), "model": fingerprint(model)})
        self._certifier.warm_up()

    def outcomes(self, batch):
        """Returns the list of `certified_or_failed` of a list of (key, image)."""
        with self._lock:
            return list(certified_or_failed(self._certifier, batch))


def certified_or_failed(
    certifier: Certifier, batch: Iterable[tuple[Key, NDArray[np.floating]]]
) -> Iterator[tuple[Key, Certificate | Exception, float]]:
    """Yields the outcome of every image, whether the others are valid or not.

    Images share passes of the head, which changes no certificate. Where one of them fails, those
    that are not done are certified one by one.

    Args:
        certifier: `Certifier`.
        batch: iterable of (key, image [height, width, channels]).

    Yields:
        (key, `Certificate` or the exception instead of it, seconds).
    """
    waiting = dict(enumerate(batch))
    places = ((place, image) for place, (_, image) in waiting.copy().items())
    try:
        for place, certificate, seconds in certifier.certificates_of(places):
            key, _ = waiting.pop(place)
            yield key, certificate, seconds
    except _OF_AN_IMAGE:
        for key, image in waiting.values():
            yield _alone(certifier, key, image)


def _alone(
    certifier: Certifier, key: Any, image: Any
) -> tuple[Any, Certificate | Exception, float]:
    try:
        ((_, certificate, seconds),) = certifier.certificates_of([(key, image)])
    except _OF_AN_IMAGE as error:
        return key, error, 0.0
    return key, certificate, seconds


def _loaded(path):
    """Returns the model of a file, or raises an error that names the worker."""
    try:
        return keras.models.load_model(path)
    except Exception as error:
        raise ValueError(
            f"The worker on {socket.gethostname()} cannot read the model {path} "
            f"({type(error).__name__}: {error}). Put it where all workers can read it, under the "
            "same path."
        ) from error


def _check_expected(expected, found):
    differences = [
        f"{name}: {found.get(name)!r} here, {value!r} expected"
        for name, value in (expected or {}).items()
        if found.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"The worker on {socket.gethostname()} would certify something else "
            f"({'; '.join(differences)}). Give all workers the same model file and the same "
            "versions of lsrs_tf, TensorFlow and Keras."
        )

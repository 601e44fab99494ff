"""Writes versions of SavedModels that are either whole or not there."""

import pathlib
import shutil
import tempfile

import keras
import tensorflow as tf

from export.signatures import Signatures
from lsrs_tf.smoothing.certifier import Certifier


def export_saved_model(
    model, directory, sigma=None, n0=100, n=100_000, alpha=0.001, batch_size=256
):
    """Exports a model as the next version of a SavedModel, for TensorFlow Serving.

    The encoder is frozen in float64, with its Lipschitz bound proven now; the head keeps its own
    precision. For signatures, see `export.signatures`.

    Args:
        model: built `lsrs_tf.models.LatentSmoothingModel`.
        directory: folder of all versions; a server watches this one.
        sigma: float above 0, or None for the model's.
        n0: int, samples that select the class.
        n: int, samples that estimate its probability; the time of a request is proportional to it.
        alpha: float in (0, 1), probability that one certificate is wrong.
        batch_size: int, noisy samples in one pass of the head.

    Returns:
        `pathlib.Path` of the new version, `directory/1` if it is the first.

    Raises:
        ValueError: if a setting is impossible, or the encoder has no proven Lipschitz bound.
    """
    directory = pathlib.Path(directory)
    certifier = Certifier(
        model, sigma, n0, n, alpha, seed=0, batch_size=batch_size, jit_compile=False
    )
    archive = keras.export.ExportArchive()
    # Nothing is tracked beyond what the functions use: tracking the model would store it twice.
    for name, (function, signature) in Signatures(certifier, model.head).endpoints().items():
        archive.add_endpoint(name, function, input_signature=signature)
    directory.mkdir(parents=True, exist_ok=True)
    # A name that is no number, so that a server does not take it for a version.
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=".unfinished_", dir=directory))
    try:
        archive.write_out(
            str(temporary),
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
            verbose=False,
        )
        temporary.chmod(0o755)
        version = directory / str(_next_version(directory))
        temporary.rename(version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return version


def _next_version(directory):
    versions = [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]
    return max(versions, default=0) + 1

"""Writes versions of SavedModels that are either whole and checked, or not there."""

import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import tensorflow as tf

from export import graph_confidence
from export.bytes_signatures import with_bytes
from export.checking import check_export, check_margins, refuse_compiled_functions
from export.image_decoder import ImageDecoder, ResizeName, decodes
from export.margin_signatures import MarginSignatures
from export.model_card import (
    margin_description,
    read_model_card,
    smoothed_description,
    write_model_card,
)
from export.radius_tests import RadiusTests
from export.serving_files import write_serving_files
from export.signatures import Endpoints, Signatures, traced
from export.version_numbers import numbers_in, renamed_to_next
from export.warmup import write_warmup
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.settings import HeadDtype, NoiseName
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.latent_smoothing import smoothed_parts
from lsrs_tf.statistics.confidence import checked_count


def export_saved_model(
    model: LatentSmoothingModel,
    directory: str | os.PathLike[str],
    *,
    sigma: float | None = None,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    batch_size: int = 256,
    noise: NoiseName = "float32",
    head_dtype: HeadDtype | None = None,
    predict_n: int = 1_000,
    max_n: int | None = None,
    radii: Collection[float] = (),
    margin: bool = False,
    resize: ResizeName | None = None,
    xla: bool = False,
    name: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Exports a model as the next version of a SavedModel, for TensorFlow Serving.

    The encoder is frozen in float64, with its Lipschitz bound proven now; the head keeps its own
    precision, or is cast to `head_dtype` in all signatures alike. For signatures, see
    `export.signatures`; images of 1 or 3 channels can also be sent as JPEG, PNG or BMP files, see
    `export.bytes_signatures`. The version appears under its number only after another process,
    without this package, has loaded it as the server does and has given the certificates of this
    one.

    Args:
        model: built `lsrs_tf.models.LatentSmoothingModel`.
        directory: folder of all versions; a server watches this one.
        sigma: float above 0, or None for the model's.
        n0: int, samples that select the class.
        n: int, samples that estimate its probability; the time of a request is proportional to it.
        alpha: float in (0, 1), probability that one certificate is wrong.
        batch_size: int, noisy samples in one pass of the head.
        noise: 'float32', 'exact' or 'logits', see `lsrs_tf.certify`.
        head_dtype: 'bfloat16' or None, see `lsrs_tf.certify`.
        predict_n: int, noisy samples of `predict_smoothed`.
        max_n: int, the most samples that a request of `certify_with` may ask for, or None for n.
        radii: floats above 0, radii that `certify_at` tests as they are, as it does multiples of
            0.25; others are rounded up to the next of 64 steps.
        margin: bool, whether `certify_margin` is served in addition: certificates of the base
            classifier, without noise. Every layer of encoder and head then needs a bound.
        resize: None, 'bilinear', 'area' or 'crop', what becomes of encoded images of another size
            than that of the input: with None they are refused. See `ImageDecoder`.
        xla: bool, whether passes of the head are compiled, which only a server with
            `--xla_cpu_compilation_enabled` or `--xla_gpu_compilation_enabled` runs.
        name: str, the model's name on a server, or None for that of the folder.
        about: dict of what else the model card is to tell, JSON values only, such as `dataset`,
            `class_names` and `measured`.

    Returns:
        `pathlib.Path` of the new version, `directory/1` if it is the first.

    Raises:
        ValueError: if a setting is impossible, the model is no `LatentSmoothingModel` or has
            sigma=0, the encoder (for margins: or the head) has no proven Lipschitz bound, or a
            layer needs XLA where the server has none.
        ArithmeticError: if the export does not give the certificates of this process.

    Example of an export of a trained model:

        version = export_saved_model(model, "served/digits", n=10_000)
        served = tf.saved_model.load(version)
        served.signatures["certify"](images=tf.constant(images))
    """
    # Raises where the model is something else.
    smoothed_parts(model)
    if sigma is None and model.sigma == 0:
        raise ValueError(
            "A model with sigma=0 has no noise, and there is nothing to smooth. Give a `sigma`, or "
            "use `export_margin_model`, for certificates of the base classifier."
        )
    if margin and head_dtype is not None:
        raise ValueError(
            "`certify_margin` is about the head in float64, and a head that is cast may give other "
            "labels: an export serves one of both. Received: margin=True, "
            f"head_dtype={head_dtype!r}. Leave out one of them."
        )
    samples = {"n0": n0, "n": n, "predict_n": predict_n, "max_n": n if max_n is None else max_n}
    for setting, value in samples.items():
        if checked_count(value, setting) > graph_confidence.LARGEST_N:
            raise ValueError(
                f"`{setting}` must be at most {graph_confidence.LARGEST_N:,} in an export, up to "
                f"where the bounds in the graph are accurate. Received: {setting}={value}"
            )
    _refuse_unfit(pathlib.Path(directory), xla)
    certifier = Certifier(
        model,
        sigma=sigma,
        jit_compile=xla,
        n0=n0,
        n=n,
        alpha=alpha,
        noise=noise,
        head_dtype=head_dtype,
        batch_size=batch_size,
    )
    decoder = _decoder(certifier.classifier.image_shape, resize)
    radius_tests = RadiusTests(certifier, tuple(radii))
    signatures = Signatures(certifier, radius_tests, predict_n, samples["max_n"])
    endpoints = signatures.endpoints()
    description = smoothed_description(certifier, signatures)
    base = BaseClassifier(model) if margin else None
    if base is not None:
        endpoints.update(MarginSignatures(base).endpoints())
        description.update(margin_description(base))

    def check(version: pathlib.Path) -> None:
        check_export(version, certifier, signatures, decoder, base)

    served = _Served(traced(endpoints), description, check, xla).with_files(decoder)
    return _written(model, pathlib.Path(directory), name, served, about or {})


def export_margin_model(
    model: LatentSmoothingModel,
    directory: str | os.PathLike[str],
    *,
    resize: ResizeName | None = None,
    name: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Exports the base classifier of a model, certified by margins, as the next version.

    The SavedModel serves `certify_margin`, which is also `serving_default`, and `predict_clean`;
    see `export.margin_signatures`. It takes no samples, so that sigma does not matter. The version
    appears under its number only after another process has given the certificates of this one.

    Args:
        model: built `lsrs_tf.models.LatentSmoothingModel`; all layers need a bound.
        directory: folder of all versions; a server watches this one.
        resize: None, 'bilinear', 'area' or 'crop', see `export_saved_model`.
        name: str, the model's name on a server, or None for that of the folder.
        about: dict of what else the model card is to tell, see `export_saved_model`.

    Returns:
        `pathlib.Path` of the new version.

    Raises:
        ValueError: if a layer has no proven Lipschitz bound, or needs XLA.
        ArithmeticError: if the export does not give the certificates of this process.
    """
    _refuse_unfit(pathlib.Path(directory), xla=False)
    base = BaseClassifier(model)
    decoder = _decoder(base.image_shape, resize)
    served = _Served(
        endpoints=traced(MarginSignatures(base).endpoints_alone()),
        description=margin_description(base),
        check=lambda version: check_margins(version, base, decoder),
        xla=False,
    ).with_files(decoder)
    return _written(model, pathlib.Path(directory), name, served, about or {})


@dataclasses.dataclass(frozen=True)
class _Served:
    """What a version serves.

    Attributes:
        endpoints: dict of the name of a signature to (function, input signature).
        description: dict, what the model card says of it.
        check: function of the folder of a version that raises unless its answers are right.
        xla: bool, whether passes of the head are compiled.
    """

    endpoints: Endpoints
    description: Mapping[str, Any]
    check: Callable[[pathlib.Path], None]
    xla: bool

    def with_files(self, decoder: ImageDecoder | None) -> "_Served":
        """Returns what is served with the signatures of encoded images, if there is a decoder."""
        if decoder is None:
            return self
        return dataclasses.replace(
            self,
            endpoints=with_bytes(self.endpoints, decoder),
            description={**self.description, "encoded_images": decoder.description()},
        )


def _decoder(shape: tuple[int, ...], resize: ResizeName | None) -> ImageDecoder | None:
    """Returns the decoder of an input, or None where files have not as many channels."""
    return ImageDecoder(shape, resize) if resize is not None or decodes(shape) else None


def _written(
    model: LatentSmoothingModel,
    directory: pathlib.Path,
    name: str | None,
    served: _Served,
    about: Mapping[str, Any],
) -> pathlib.Path:
    """Writes a version, checks it, and gives it its number."""
    name = name or directory.resolve().name
    archive = keras.export.ExportArchive()
    # Nothing is tracked beyond what the functions use: tracking the model would store it twice.
    for endpoint, (function, signature) in served.endpoints.items():
        archive.add_endpoint(endpoint, function, input_signature=signature)
    directory.mkdir(parents=True, exist_ok=True)
    # Its name is not a number, so that a server does not take it for a version.
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=".unfinished_", dir=directory))
    try:
        try:
            archive.write_out(
                str(temporary),
                options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
                verbose=False,
            )
        except tf.errors.OpError as error:
            raise OSError(f"The model cannot be written to {directory}: {error.message}") from error
        if not served.xla:
            refuse_compiled_functions(temporary)
        write_warmup(temporary, served.endpoints)
        write_model_card(temporary, model, served.description, served.xla, about, name)
        served.check(temporary)
        temporary.chmod(0o755)
        version = renamed_to_next(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_serving_files(directory, name, served.xla)
    return version


def _refuse_unfit(directory: pathlib.Path, xla: bool) -> None:
    """Raises if nothing can be exported to a folder, before any work is done."""
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("Export outside of the scope of a strategy: a server has one replica.")
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory} is a file. Give a folder for the versions.")
    _refuse_others_beside(directory, xla)


def _refuse_others_beside(directory: pathlib.Path, xla: bool) -> None:
    """Raises if a server of this folder has, or has not, XLA, contrary to what is to be written."""
    for version in numbers_in(directory):
        card = read_model_card(directory / str(version))
        if card is not None and card["needs_xla"] != xla:
            raise ValueError(
                f"Version {version} in {directory} {_needs(not xla)} XLA, and the new one "
                f"{_needs(xla)} it. A server is started with a flag for it, or without: give each "
                "kind a folder of its own."
            )


def _needs(xla: bool) -> str:
    return "needs" if xla else "does not need"

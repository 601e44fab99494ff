import math
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.answers import (
    SUFFIX_OF_FILES,
    Certificates,
    CleanPredictions,
    MarginCertificates,
    Predictions,
    RobustLabels,
)
from export.rest_transport import RestTransport

_TYPES = {
    "label": np.int64,
    "radius": np.float32,
    "margin": np.float64,
    "p_lower": np.float32,
    "votes": np.int32,
    "samples": np.int32,
    "robust": np.bool_,
    "logits": np.float32,
    "latents": np.float32,
    "images": np.float32,
}
_ONLY_OUTPUTS = {"encode": "latents", "classify": "logits", "decode": "images"}
_FAR_OUTSIDE = 2.0
# What people give for files, whether or not it is right.
_OF_FILES = (str, bytes, bytearray, memoryview, os.PathLike)

# Pixels, float [images, height, width, channels] in [0, 1]; or files.
Images: TypeAlias = ArrayLike | Sequence[bytes]


class Transport(Protocol):
    """What carries requests to a server: `RestTransport` or `GrpcTransport`."""

    def predict(
        self, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> dict[str, NDArray[Any]] | NDArray[Any]:
        """Returns the outputs by their names, or the only one."""
        ...

    def close(self) -> None:
        """Closes the connection."""


class Client:
    """Asks a model that TensorFlow Serving serves.

        client = Client.over_rest("http://localhost:8501", "digits")
        client.certify(images).radius
        client.certify([pathlib.Path("cat.png").read_bytes()]).radius

    Images are pixels, a floating point array [images, height, width, channels] in [0, 1]; or a list
    of bytes, each a JPEG, PNG or BMP file. A certificate of a file is about the pixels that
    `decode` gives for it.

    All methods raise `ServingError` where the server does not answer, in time or at all, and
    ValueError where there is no image, images are neither a floating point array of four dimensions
    nor files, or settings are not numbers of the right kind. Rows that the server refuses come back
    with `samples` 0, and with label -1 where nothing is sampled. A method whose signature a version
    does not have raises `ServingError`.

    Args:
        transport: `RestTransport` or `GrpcTransport`.
        timeout: float, seconds that a request may take. Certifying takes time in proportion to the
            samples; see "Operate a server" in the documentation.
    """

    def __init__(self, transport: Transport, timeout: float = 60.0) -> None:
        self._transport = transport
        self._timeout = _checked_timeout(timeout)

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    @classmethod
    def over_rest(
        cls, url: str, model: str, timeout: float = 60.0, version: int | None = None
    ) -> Self:
        """Returns a client of the REST interface at a URL such as 'http://localhost:8501'.

        It asks one version, or the one that the server chooses.
        """
        return cls(RestTransport(url, model, version), timeout)

    @classmethod
    def over_grpc(
        cls, target: str, model: str, timeout: float = 60.0, version: int | None = None
    ) -> Self:
        """Returns a client of the gRPC interface at a target such as 'localhost:8500'.

        It asks one version, or the one that the server chooses.
        """
        # Imports TensorFlow, which REST does without.
        from export.grpc_transport import GrpcTransport

        return cls(GrpcTransport(target, model, version), timeout)

    def predict_smoothed(self, images: Images) -> Predictions:
        """Returns the `Predictions` of images."""
        return Predictions(**self._ask_of("predict_smoothed", _checked(images)))

    def predict_clean(self, images: Images) -> CleanPredictions:
        """Returns the `CleanPredictions` of images."""
        return CleanPredictions(**self._ask_of("predict_clean", _checked(images)))

    def certify(self, images: Images) -> Certificates:
        """Returns the `Certificates` of images, with the samples and alpha of the export."""
        return Certificates(**self._ask_of("certify", _checked(images)))

    def certify_with(
        self, images: Images, seed: ArrayLike, n: ArrayLike, alpha: ArrayLike
    ) -> Certificates:
        """Returns the `Certificates` of images, with one setting for all, or one for each.

        Args:
            images: pixels or files, see above.
            seed: int or int array [images].
            n: int or int array [images], estimation samples, at most the `max_n` of the export.
            alpha: float or float array [images], probability that a certificate is wrong.
        """
        checked = _checked(images)
        rows = len(checked)
        return Certificates(
            **self._ask_of(
                "certify_with",
                checked,
                seed=_per_row("seed", seed, rows, np.int64),
                n=_per_row("n", n, rows, np.int32),
                alpha=_per_row("alpha", alpha, rows, np.float64),
            )
        )

    def certify_margin(self, images: Images) -> MarginCertificates:
        """Returns the `MarginCertificates` of images."""
        return MarginCertificates(**self._ask_of("certify_margin", _checked(images)))

    def certify_at(self, images: Images, radius: ArrayLike) -> RobustLabels:
        """Returns the `RobustLabels` of images at one radius for all, or one for each.

        Args:
            images: pixels or files, see above.
            radius: float or float array [images], L2, in units of pixels.
        """
        checked = _checked(images)
        asked = _per_row("radius", radius, len(checked), np.float64)
        # To float32 the safe way, which is up.
        with np.errstate(over="ignore"):
            nearest = asked.astype(np.float32)
        above = np.nextafter(nearest, np.float32(np.inf))
        request = np.where(nearest.astype(np.float64) < asked, above, nearest)
        return RobustLabels(**self._ask_of("certify_at", checked, radius=request))

    def decode(self, files: Sequence[bytes]) -> NDArray[np.float32]:
        """Returns the pixels that certificates of files are about.

        Args:
            files: list of bytes, JPEG, PNG or BMP files.

        Returns:
            float32 array [files, height, width, channels] in [0, 1], -1 in rows that are refused.
        """
        return self._ask("decode", image_bytes=_files(files))["images"]

    def encode(self, images: ArrayLike) -> NDArray[np.float32]:
        """Returns the latents of images, float32 array."""
        return self._ask("encode", images=_pixels(images))["latents"]

    def classify(self, latents: ArrayLike) -> NDArray[np.float32]:
        """Returns the logits [images, classes] of latents, float32 array."""
        return self._ask("classify", latents=np.asarray(latents, np.float32))["logits"]

    def _ask_of(
        self, signature: str, images: NDArray[Any], **others: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """Asks the signature of pixels, or that of files, which are an array of objects."""
        if images.dtype == object:
            return self._ask(signature + SUFFIX_OF_FILES, image_bytes=images, **others)
        return self._ask(signature, images=images, **others)

    def _ask(self, signature: str, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        outputs = self._transport.predict(signature, inputs, self._timeout)
        if not isinstance(outputs, dict):
            # REST leaves the name out where there is one output.
            outputs = {_ONLY_OUTPUTS[signature]: outputs}
        return {name: value.astype(_TYPES[name]) for name, value in outputs.items()}


def _checked_timeout(timeout: float) -> float:
    """Returns a time-out, or raises if it is none."""
    number = isinstance(timeout, numbers.Real) and not isinstance(timeout, bool)
    if not number or not math.isfinite(timeout) or timeout <= 0:
        raise ValueError(
            "`timeout` must be a number of seconds above 0, such as 60.0. Received: "
            f"timeout={timeout!r}"
        )
    return float(timeout)


def _checked(images: Images) -> NDArray[Any]:
    """Returns pixels as float32, or files as objects."""
    return _files(images) if _mean_files(images) else _pixels(images)


def _mean_files(given: Any) -> bool:
    """Returns whether something stands for files, be it in the right way or not."""
    if isinstance(given, np.ndarray):
        return given.dtype.kind in "OSU"
    entries = given if isinstance(given, list | tuple) else [given]
    return any(isinstance(entry, _OF_FILES) for entry in entries)


def _are_files(given: Any) -> TypeGuard[Sequence[bytes]]:
    return (
        isinstance(given, Sequence)
        and len(given) > 0
        and all(isinstance(entry, bytes) for entry in given)
    )


def _files(given: Any) -> NDArray[np.object_]:
    if not _are_files(given):
        received = type(given).__name__
        if isinstance(given, list | tuple):
            kinds = sorted({type(entry).__name__ for entry in given})
            received += f" of {', '.join(kinds) or 'nothing'}"
        raise ValueError(
            "Files are given as a list of their bytes: [path.read_bytes()], at least one, and "
            f"not together with pixels. Received: {received}"
        )
    files = np.empty(len(given), object)
    files[:] = given
    return files


def _pixels(given: ArrayLike) -> NDArray[np.float32]:
    images = np.asarray(given)
    if images.ndim != 4 or not len(images) or not np.issubdtype(images.dtype, np.floating):
        advice = " Of a single image x, give the batch x[None]." if images.ndim == 3 else ""
        if np.issubdtype(images.dtype, np.integer):
            advice += " For pixels up to 255, divide by 255."
        raise ValueError(
            "Images must be a batch, floating point [images, height, width, channels] with pixels "
            f"in [0, 1], at least one. Received: {images.dtype} of shape {images.shape}.{advice}"
        )
    # Some pixels just outside of the range are a matter of their rows; these are none in [0, 1].
    if np.nanmax(images, initial=0.0) > _FAR_OUTSIDE:
        raise ValueError(
            f"Pixels must lie in [0, 1]. Received: up to {np.nanmax(images)}. For pixels up to "
            "255, divide by 255."
        )
    return images.astype(np.float32)


def _per_row(name: str, given: ArrayLike, rows: int, dtype: type[np.number]) -> NDArray[Any]:
    value = np.asarray(given)
    whole = np.issubdtype(dtype, np.integer)
    if not np.issubdtype(value.dtype, np.integer if whole else np.number):
        raise ValueError(
            f"`{name}` must be {'whole numbers' if whole else 'numbers'}. Received: {name}={value}"
        )
    kind = np.dtype(dtype).name
    if whole and not all(np.iinfo(kind).min <= entry <= np.iinfo(kind).max for entry in value.flat):
        raise ValueError(f"`{name}` must fit {kind}. Received: {name}={value}")
    if value.shape not in ((), (rows,)):
        raise ValueError(
            f"Give one setting for all images, or one for each of the {rows}. "
            f"Received: shape {value.shape}"
        )
    return np.broadcast_to(value, [rows]).astype(dtype)

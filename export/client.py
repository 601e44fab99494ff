from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.answers import (
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
}
_FAR_OUTSIDE = 2.0


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

    All methods raise `ServingError` where the server does not answer, in time or at all, and
    ValueError where there is no image, images are not a floating point array of four dimensions, or
    settings are not numbers of the right kind. Rows that the server refuses come back with
    `samples` 0, and with label -1 where nothing is sampled. A method whose signature a version does
    not have raises `ServingError`.

    Args:
        transport: `RestTransport` or `GrpcTransport`.
        timeout: float, seconds that a request may take. Certifying takes time in proportion to the
            samples; see "Operate a server" in the documentation.
    """

    def __init__(self, transport: Transport, timeout: float = 60.0) -> None:
        if not timeout > 0:
            raise ValueError(f"`timeout` must be a number of seconds above 0. Received: {timeout}")
        self._transport = transport
        self._timeout = timeout

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    @classmethod
    def over_rest(cls, url: str, model: str, timeout: float = 60.0) -> Self:
        """Returns a client of the REST interface at a URL such as 'http://localhost:8501'."""
        return cls(RestTransport(url, model), timeout)

    @classmethod
    def over_grpc(cls, target: str, model: str, timeout: float = 60.0) -> Self:
        """Returns a client of the gRPC interface at a target such as 'localhost:8500'."""
        # Imports TensorFlow, which REST does without.
        from export.grpc_transport import GrpcTransport

        return cls(GrpcTransport(target, model), timeout)

    def predict_smoothed(self, images: ArrayLike) -> Predictions:
        """Returns the `Predictions` of images float [images, height, width, channels]."""
        return Predictions(**self._ask("predict_smoothed", images=_pixels(images)))

    def predict_clean(self, images: ArrayLike) -> CleanPredictions:
        """Returns the `CleanPredictions` of images float [images, height, width, channels]."""
        return CleanPredictions(**self._ask("predict_clean", images=_pixels(images)))

    def certify(self, images: ArrayLike) -> Certificates:
        """Returns the `Certificates` of images, with the samples and alpha of the export."""
        return Certificates(**self._ask("certify", images=_pixels(images)))

    def certify_with(
        self, images: ArrayLike, seed: ArrayLike, n: ArrayLike, alpha: ArrayLike
    ) -> Certificates:
        """Returns the `Certificates` of images, with one setting for all, or one for each.

        Args:
            images: float array [images, height, width, channels] with pixels in [0, 1].
            seed: int or int array [images].
            n: int or int array [images], estimation samples, at most the `max_n` of the export.
            alpha: float or float array [images], probability that a certificate is wrong.
        """
        pixels = _pixels(images)
        rows = len(pixels)
        return Certificates(
            **self._ask(
                "certify_with",
                images=pixels,
                seed=_per_row("seed", seed, rows, np.int64),
                n=_per_row("n", n, rows, np.int32),
                alpha=_per_row("alpha", alpha, rows, np.float64),
            )
        )

    def certify_margin(self, images: ArrayLike) -> MarginCertificates:
        """Returns the `MarginCertificates` of images float [images, height, width, channels]."""
        return MarginCertificates(**self._ask("certify_margin", images=_pixels(images)))

    def certify_at(self, images: ArrayLike, radius: ArrayLike) -> RobustLabels:
        """Returns the `RobustLabels` of images at one radius for all, or one for each.

        Args:
            images: float array [images, height, width, channels] with pixels in [0, 1].
            radius: float or float array [images], L2, in units of pixels.
        """
        pixels = _pixels(images)
        asked = _per_row("radius", radius, len(pixels), np.float64)
        # To float32 the safe way, which is up.
        with np.errstate(over="ignore"):
            nearest = asked.astype(np.float32)
        above = np.nextafter(nearest, np.float32(np.inf))
        request = np.where(nearest.astype(np.float64) < asked, above, nearest)
        return RobustLabels(**self._ask("certify_at", images=pixels, radius=request))

    def encode(self, images: ArrayLike) -> NDArray[np.float32]:
        """Returns the latents of images, float32 array."""
        return self._ask("encode", images=_pixels(images))["latents"]

    def classify(self, latents: ArrayLike) -> NDArray[np.float32]:
        """Returns the logits [images, classes] of latents, float32 array."""
        return self._ask("classify", latents=np.asarray(latents, np.float32))["logits"]

    def _ask(self, signature: str, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        outputs = self._transport.predict(signature, inputs, self._timeout)
        if not isinstance(outputs, dict):
            # REST leaves the name out where there is one output.
            outputs = {{"encode": "latents", "classify": "logits"}[signature]: outputs}
        return {name: value.astype(_TYPES[name]) for name, value in outputs.items()}


def _pixels(given: ArrayLike) -> NDArray[np.float32]:
    images = np.asarray(given)
    if images.ndim != 4 or not len(images) or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            "Images must be floating point [images, height, width, channels] with pixels in "
            f"[0, 1], at least one. Received: {images.dtype} of shape {images.shape}. For pixels "
            "up to 255, divide by 255."
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

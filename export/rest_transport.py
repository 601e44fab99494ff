import base64
import http
from collections.abc import Mapping
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from export.answers import ServingError

_CODES: dict[int, str] = {
    http.HTTPStatus.BAD_REQUEST: "INVALID_ARGUMENT",
    http.HTTPStatus.NOT_FOUND: "NOT_FOUND",
    http.HTTPStatus.GATEWAY_TIMEOUT: "DEADLINE_EXCEEDED",
    http.HTTPStatus.SERVICE_UNAVAILABLE: "UNAVAILABLE",
}


class RestTransport:
    """Requests over TensorFlow Serving's REST interface.

    Its own time-out, `--rest_api_timeout_in_ms`, is 30 s unless the server is told otherwise.

    Args:
        url: str, such as 'http://localhost:8501'.
        model: str, the model's name on the server.
        version: int, or None for the one that the server chooses.
    """

    def __init__(self, url: str, model: str, version: int | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The address must be like 'http://localhost:8501'. Received: {url!r}")
        chosen = "" if version is None else f"/versions/{version}"
        self._url = f"{url.rstrip('/')}/v1/models/{model}{chosen}:predict"

    def predict(
        self, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> dict[str, NDArray[Any]] | NDArray[Any]:
        """Asks a signature.

        Args:
            signature: str.
            inputs: dict of name to array; bytes, in an array of objects, are sent in base64.
            timeout: float, seconds.

        Returns:
            dict of name to array, or an array where the signature has one output; numbers have
            lost their types.

        Raises:
            ServingError: if there is no answer.
        """
        body = {
            "signature_name": signature,
            "inputs": {name: _json_values(value) for name, value in inputs.items()},
        }
        try:
            response = requests.post(self._url, json=body, timeout=timeout)
        except requests.Timeout as error:
            raise ServingError(
                "DEADLINE_EXCEEDED", f"no answer from {self._url} within {timeout} s"
            ) from error
        except requests.ConnectionError as error:
            raise ServingError("UNAVAILABLE", f"no server at {self._url}: {error}") from error
        except requests.exceptions.InvalidJSONError as error:
            raise ServingError(
                "INVALID_ARGUMENT", "JSON cannot carry NaN or infinity; use gRPC, or fix the input"
            ) from error
        if response.status_code != http.HTTPStatus.OK:
            code = _CODES.get(response.status_code, f"HTTP_{response.status_code}")
            raise ServingError(code, _message(response))
        outputs = response.json()["outputs"]
        if isinstance(outputs, dict):
            return {name: np.asarray(value) for name, value in outputs.items()}
        return np.asarray(outputs)

    def close(self) -> None:
        """Does nothing: every request has a connection of its own."""


def _json_values(value: NDArray[Any]) -> list[Any]:
    array = np.asarray(value)
    if array.dtype != object:
        return array.tolist()
    return [{"b64": base64.b64encode(entry).decode("ascii")} for entry in array]


def _message(response: requests.Response) -> str:
    try:
        return response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return response.text[:500]

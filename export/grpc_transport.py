from collections.abc import Mapping
from typing import Any

import grpc
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import prediction_service_pb2_grpc

from export.answers import ServingError
from export.warmup import predict_request

# A batch of large images is more than gRPC's 4 MiB.
_LARGEST_MESSAGE = 256 * 2**20


class GrpcTransport:
    """Requests over TensorFlow Serving's gRPC interface.

    Args:
        target: str, such as 'localhost:8500'.
        model: str, the model's name on the server.
        version: int, or None for the one that the server chooses.
    """

    def __init__(self, target: str, model: str, version: int | None = None) -> None:
        if "://" in target:
            raise ValueError(f"The address must be like 'localhost:8500'. Received: {target!r}")
        self._model, self._version = model, version
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_send_message_length", _LARGEST_MESSAGE),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ],
        )
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> dict[str, NDArray[Any]]:
        """Asks a signature.

        Args:
            signature: str.
            inputs: dict of name to array.
            timeout: float, seconds; the server gives up then, too.

        Returns:
            dict of name to array.

        Raises:
            ServingError: if there is no answer.
        """
        request = predict_request(signature, inputs, self._model)
        if self._version is not None:
            request.model_spec.version.value = self._version
        try:
            response = self._service.Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            raise ServingError(error.code().name, error.details() or "no reason given") from error
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

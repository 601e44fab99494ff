"""Requests that a server runs before it lets a new version answer."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

# Where the server looks for them.
PLACE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(version: pathlib.Path, endpoints: Mapping[str, Any]) -> None:
    """Writes a warm-up request for every signature.

    Those that sample get a row that is refused, or one sample, so that a server does not need
    minutes before it is ready: what takes time at the first request is preparing the graph.

    Args:
        version: folder of the SavedModel.
        endpoints: `Signatures.endpoints()`, or those of `MarginSignatures`.
    """
    path = version / PLACE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, inputs in warmup_inputs(endpoints).items():
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=predict_request(name, inputs))
            )
            writer.write(log.SerializeToString())


def warmup_inputs(endpoints: Mapping[str, Any]) -> dict[str, dict[str, NDArray[Any]]]:
    """Returns dict of signature to its inputs, dict of name to array with one row."""
    # A pixel outside [0, 1]: nothing is sampled.
    refused = {"serving_default", "predict_smoothed", "certify", "certify_at"}
    # An empty file is refused, too.
    values: dict[str, Any] = {"n": 1, "alpha": 0.5, "image_bytes": b""}
    return {
        name: {
            spec.name: np.full(
                [1, *spec.shape[1:]],
                -1 if name in refused and spec.name == "images" else values.get(spec.name, 0),
                spec.dtype.as_numpy_dtype,
            )
            for spec in specs
        }
        for name, (_, specs) in endpoints.items()
    }


def predict_request(
    signature: str, inputs: Mapping[str, NDArray[Any]], model: str = ""
) -> predict_pb2.PredictRequest:
    """Returns the official request message for a signature.

    Args:
        signature: str.
        inputs: dict of name to array.
        model: str, the model's name on the server.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request

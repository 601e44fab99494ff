"""A process that serves a SavedModel on Triton, and writes its answers to requests from a file.

    python triton_program.py VERSION ASKED.npz ANSWERED.npz

It needs nvidia-pytriton and TensorFlow, and nothing of this package. Arrays are asked for as
SIGNATURE/NAME, and answered as WAY/SIGNATURE/NAME: by http, by grpc, and by many clients at once
that ask for one row each.
"""

import concurrent.futures
import os
import socket
import sys
import sysconfig

import numpy as np
import tensorflow as tf
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from tritonclient import grpc, http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ROWS_TOGETHER = 8


def free_ports(number):
    listening = [socket.create_server(("localhost", 0)) for _ in range(number)]
    ports = [found.getsockname()[1] for found in listening]
    for found in listening:
        found.close()
    return ports


def row_shape(spec):
    """The shape of a row, which is no scalar on Triton."""
    return tuple(spec.shape[1:]) or (1,)


def tensors(specs):
    """Describes what a signature takes or gives, without the dimension of the batch."""
    return [
        Tensor(
            name=name,
            dtype=np.bytes_ if spec.dtype == tf.string else spec.dtype.as_numpy_dtype,
            shape=row_shape(spec),
        )
        for name, spec in specs.items()
    ]


def bind(triton, name, signature):
    """Makes a signature a model of the server."""
    takes = signature.structured_input_signature[1]
    gives = signature.structured_outputs

    @batch
    def answer(**inputs):
        found = signature(
            **{
                key: tf.constant(value.reshape([-1, *takes[key].shape[1:]]), takes[key].dtype)
                for key, value in inputs.items()
            }
        )
        return {
            key: value.numpy().reshape([-1, *row_shape(gives[key])]) for key, value in found.items()
        }

    config = ModelConfig(max_batch_size=ROWS_TOGETHER)
    triton.bind(name, answer, tensors(takes), tensors(gives), config=config, strict=True)


def ask(package, client, name, inputs, shapes):
    """Returns the outputs of one request, of the shapes that the signature gives."""
    asked = []
    for key, value in inputs.items():
        rows = value.reshape(len(value), -1) if value.ndim == 1 else value
        tensor = package.InferInput(key, rows.shape, np_to_triton_dtype(rows.dtype))
        tensor.set_data_from_numpy(rows)
        asked.append(tensor)
    answer = client.infer(name, asked)
    return {key: answer.as_numpy(key).reshape([-1, *shape]) for key, shape in shapes.items()}


def main(version, asked, answered):
    requests = {}
    with np.load(asked, allow_pickle=True) as arrays:
        for key in arrays.files:
            signature, name = key.split("/")
            requests.setdefault(signature, {})[name] = arrays[key]
    signatures = tf.saved_model.load(version).signatures
    http_port, grpc_port = free_ports(2)
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http_port,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        allow_metrics=False,
        exit_timeout_secs=5,
    )
    # The server's own Python is a library, which must be of the same release as this one.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    found = {}
    with Triton(config=config) as triton:
        for name in requests:
            bind(triton, name, signatures[name])
        triton.run()
        by_http = http.InferenceServerClient(f"127.0.0.1:{http_port}", network_timeout=120)
        by_grpc = grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}")
        with by_http, by_grpc, concurrent.futures.ThreadPoolExecutor(16) as pool:
            for name, inputs in requests.items():
                outputs = signatures[name].structured_outputs.items()
                shapes = {key: spec.shape[1:].as_list() for key, spec in outputs}
                rows = [
                    {key: value[row : row + 1] for key, value in inputs.items()}
                    for row in range(len(next(iter(inputs.values()))))
                ]
                alone = pool.map(
                    lambda row, name=name, shapes=shapes: ask(grpc, by_grpc, name, row, shapes),
                    rows,
                )
                ways = {
                    "http": ask(http, by_http, name, inputs, shapes),
                    "grpc": ask(grpc, by_grpc, name, inputs, shapes),
                }
                single = list(alone)
                ways["rows"] = {
                    key: np.concatenate([answer[key] for answer in single]) for key in shapes
                }
                for way, answer in ways.items():
                    found |= {f"{way}/{name}/{key}": value for key, value in answer.items()}
            # What is wrong is refused by the server.
            images = requests["certify_with"]["images"]
            wrong = {**requests["certify_with"], "images": images[:, :4]}
            try:
                ask(grpc, by_grpc, "certify_with", wrong, {})
            except InferenceServerException as error:
                found["refused"] = np.array([error.status(), error.message()])
    np.savez(answered, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])

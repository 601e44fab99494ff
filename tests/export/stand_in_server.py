"""A test double of TensorFlow Serving: gRPC and REST before the session that it uses.

    python -m tests.export.stand_in_server VERSION [ROWS]

Prints both ports in JSON, and answers until its standard input is closed. It merges no requests,
unless a number of rows is given that are run together; these requests have no deadline.

It has the one version, under its number and the name in its model card, and of REST the requests
`:predict` and the status. It imitates no labels of versions, no new versions while it runs, no
warm-up, no limits on batches, no metrics, and of gRPC no other service than Predict.
"""

import base64
import concurrent.futures
import http.server
import json
import pathlib
import re
import sys
import threading

from export import session_program

session_program.hide()

import grpc  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: E402

from tests.export.request_merger import RequestMerger  # noqa: E402

v1 = tf.compat.v1
_LARGEST_MESSAGE = 256 * 2**20
_ADDRESS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict)?")


class Model:
    """A SavedModel in a session."""

    def __init__(self, version, rows_together=None):
        path = pathlib.Path(version).resolve()
        card = path / "assets.extra" / "model_card.json"
        self.name = json.loads(card.read_text())["name"] if card.exists() else path.parent.name
        # A folder of any name has a number for those that ask for none.
        self.version = int(path.name) if path.name.isdecimal() else 1
        self._merged = None
        if rows_together is not None:
            merger = RequestMerger(lambda *request: self._run(*request, None), rows_together)
            self._merged = merger.run
        self._session = v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = v1.saved_model.load(self._session, ["serve"], version)
        self.signatures = {
            name: found for name, found in loaded.signature_def.items() if not name.startswith("__")
        }

    def check_is(self, name, version):
        """Raises if this is not the model of a name, or not its version, unless that is None."""
        if name != self.name or version not in (None, self.version):
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise tf.errors.NotFoundError(
                None, None, f"Servable not found for request: {asked}; there is {self}"
            )

    def __str__(self):
        return f"{self.name}, version {self.version}"

    def run(self, name, inputs, seconds):
        """Answers, or raises a `tf.errors.OpError`."""
        name = name or "serving_default"
        if name not in self.signatures:
            raise tf.errors.NotFoundError(None, None, f"no signature {name}")
        signature = self.signatures[name]
        if set(inputs) != set(signature.inputs):
            raise tf.errors.InvalidArgumentError(
                None, None, f"inputs {sorted(inputs)} instead of {sorted(signature.inputs)}"
            )
        if self._merged:
            return self._merged(name, inputs)
        return self._run(name, inputs, seconds)

    def _run(self, name, inputs, seconds):
        signature = self.signatures[name]
        milliseconds = 0 if seconds is None else max(1, int(1000 * seconds))
        try:
            return self._session.run(
                {key: info.name for key, info in signature.outputs.items()},
                {signature.inputs[key].name: value for key, value in inputs.items()},
                options=v1.RunOptions(timeout_in_ms=milliseconds),
            )
        except ValueError as error:
            # Python checks shapes before the session does.
            raise tf.errors.InvalidArgumentError(None, None, str(error)) from error

    def dtype(self, name, key):
        return tf.as_dtype(self.signatures[name or "serving_default"].inputs[key].dtype)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):  # noqa: N802
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        spec = request.model_spec
        try:
            self._model.check_is(
                spec.name, spec.version.value if spec.HasField("version") else None
            )
            answer = self._model.run(spec.signature_name, inputs, context.time_remaining())
        except tf.errors.OpError as error:
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[error.error_code], error.message)
        response = predict_pb2.PredictResponse()
        for name, value in answer.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


def handler(model):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self._answer_with(self._status, ends_in=None)

        def do_POST(self):  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer_with(lambda: self._predict(body), ends_in=":predict")

        def _answer_with(self, answer, ends_in):
            try:
                asked = _ADDRESS.fullmatch(self.path)
                if asked is None or asked[3] != ends_in:
                    raise tf.errors.InvalidArgumentError(
                        None, None, f"Malformed request: {self.command} {self.path}"
                    )
                model.check_is(asked[1], None if asked[2] is None else int(asked[2]))
                self._answer(200, answer())
            except tf.errors.NotFoundError as error:
                self._answer(404, {"error": error.message})
            except tf.errors.OpError as error:
                self._answer(400, {"error": error.message})
            except (KeyError, TypeError, ValueError, IndexError) as error:
                self._answer(400, {"error": f"{type(error).__name__}: {error}"})

        def _status(self):
            of_version = {"version": str(model.version), "state": "AVAILABLE"}
            of_version["status"] = {"error_code": "OK", "error_message": ""}
            return {"model_version_status": [of_version]}

        def _predict(self, body):
            name = body.get("signature_name")
            if "inputs" in body:
                answer = model.run(name, self._arrays(name, body["inputs"]), None)
                columns = {key: value.tolist() for key, value in answer.items()}
                (first, *others) = columns.values()
                return {"outputs": columns if others else first}
            rows = body["instances"]
            columns = {key: [row[key] for row in rows] for key in rows[0]}
            answer = model.run(name, self._arrays(name, columns), None)
            return {
                "predictions": [
                    {key: value[index].tolist() for key, value in answer.items()}
                    for index in range(len(rows))
                ]
            }

        def _arrays(self, name, columns):
            return {key: self._array(name, key, value) for key, value in columns.items()}

        def _array(self, name, key, value):
            dtype = model.dtype(name, key)
            if dtype == tf.string:
                value = [base64.b64decode(entry["b64"], validate=True) for entry in value]
            return np.array(value, dtype.as_numpy_dtype)

        def _answer(self, status, body):
            content = json.dumps(body, allow_nan=False).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


def main(version, rows_together=None):
    model = Model(version, None if rows_together is None else int(rows_together))
    sizes = [
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), options=sizes)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(model), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    rest = http.server.ThreadingHTTPServer(("localhost", 0), handler(model))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    print(json.dumps({"grpc": port, "rest": rest.server_port}), flush=True)
    sys.stdin.read()
    server.stop(0)
    rest.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

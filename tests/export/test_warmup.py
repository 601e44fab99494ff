import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from export.checking import ask
from export.saved_model_file import read_signatures
from export.warmup import PLACE


def test_records_replay_for_every_signature(version, signatures):
    requests = {}
    for record in tf.data.TFRecordDataset(str(version / PLACE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests[request.model_spec.signature_name] = inputs
    assert set(requests) == set(read_signatures(version)) > set(signatures.endpoints())
    answers = ask(version, requests)
    for name, answer in answers.items():
        assert all(len(value) == 1 for value in answer.values()), name
    # One row is really sampled; the others do not keep a server waiting.
    assert answers["certify_with"]["samples"] == [21]
    assert answers["certify"]["samples"] == [0]
    assert np.all(answers["certify"]["label"] == -1)

import numpy as np
import tensorflow as tf

from export.signatures import Signatures
from lsrs_tf import models
from lsrs_tf.smoothing.certifier import Certifier


def test_every_input_and_output_has_a_batch_dimension():
    model = models.convnet(width=4, num_classes=3)
    certifier = Certifier(model, n0=5, n=50, alpha=0.01, jit_compile=False)
    endpoints = Signatures(certifier, model.head).endpoints()
    assert set(endpoints) == {"serving_default", "certify", "certify_with", "encode", "classify"}
    for function, signature in endpoints.values():
        assert all(spec.shape[0] is None for spec in signature)
        concrete = tf.function(function, input_signature=signature).get_concrete_function()
        for output in concrete.structured_outputs.values():
            assert output.shape.rank >= 1
        answer = concrete(*(tf.zeros([4, *spec.shape[1:]], spec.dtype) for spec in signature))
        assert all(len(value) == 4 for value in answer.values())


def test_no_operation_is_compiled_or_unknown_to_a_server():
    model = models.convnet(width=4, num_classes=3)
    certifier = Certifier(model, n0=5, n=50, alpha=0.01, jit_compile=False)
    function, signature = Signatures(certifier, model.head).endpoints()["certify"]
    graph = tf.function(function, input_signature=signature).get_concrete_function().graph
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    operations = {node.op for node in nodes}
    assert not operations & {"PyFunc", "EagerPyFunc", "XlaLaunch"}
    attributes = [f.attr for f in definition.library.function] + [node.attr for node in nodes]
    assert not any(
        "_XlaMustCompile" in found and found["_XlaMustCompile"].b for found in attributes
    )
    assert np.any([node.op == "StatelessRandomUniformFullIntV2" for node in nodes])

"""Which operation of a classifier has no gradient, for the message."""

import tensorflow as tf

# Operations of values that go on to the logits, but no gradient comes back through them. (Round
# and the like pass none, or zeros.)
_STEPS = {
    "ArgMax",
    "ArgMin",
    "Ceil",
    "Equal",
    "Floor",
    "FloorDiv",
    "FloorMod",
    "Greater",
    "GreaterEqual",
    "Less",
    "LessEqual",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "NotEqual",
    "OneHot",
    "Rint",
    "Round",
    "Sign",
    "StopGradient",
    "PreventGradient",
    "PyFunc",
    "EagerPyFunc",
}


def steps_of(scores, image_shape):
    """Returns the operations without gradient between images and scores, list of (type, name).

    Args:
        scores: function from images float64 [images, height, width, channels] to scores.
        image_shape: tuple, (height, width, channels).
    """
    signature = [tf.TensorSpec([None, *image_shape], tf.float64)]
    traced = tf.function(scores, input_signature=signature, autograph=False)
    concrete = traced.get_concrete_function()
    image, reached = concrete.inputs[0], concrete.outputs[0].op
    operations = concrete.graph.get_operations()
    after = {image.op}
    for operation in operations:
        if any(tensor.op in after for tensor in operation.inputs):
            after.add(operation)
    before, waiting = set(), [reached]
    while waiting:
        operation = waiting.pop()
        if operation not in before:
            before.add(operation)
            waiting.extend(tensor.op for tensor in operation.inputs)
    return [
        (operation.type, operation.name)
        for operation in operations
        if operation in after and operation in before and _is_step(operation)
    ]


def _is_step(operation):
    if operation.type == "Cast":
        return not operation.outputs[0].dtype.is_floating
    return operation.type in _STEPS


def refuse_without_gradient(scores, image_shape):
    """Raises because scores have no gradient; arguments as for `steps_of`."""
    found = steps_of(scores, image_shape)
    named = (
        f"operation {found[0][0]} ('{found[0][1]}') passes none back"
        if found
        else "nothing that it computes depends on the pixels"
    )
    raise ValueError(
        f"The logits have no gradient with respect to the image: {named}. Attacks follow "
        "gradients; leave that operation out of the model, or replace it by one with a gradient."
    )

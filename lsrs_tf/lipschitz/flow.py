import numpy as np

from lsrs_tf.layers import LipschitzConv2D


class Flow:
    """The shapes that run through the layers of a model, as those of a real image of zeros.

    Keras' symbolic shapes are not always those that run: a layer may repeat a small input and say
    otherwise, a model may take images of another number of channels than its own. Bounds depend on
    shapes, so that every shape here is that of a real output, compared with the symbolic one.

    Attributes:
        shape: tuple, the shape with the batch dimension, None for what is unknown.
    """

    def __init__(self, shape):
        self.shape = (None, *shape[1:])

    @property
    def _zeros(self):
        return None if None in self.shape[1:] else np.zeros((1, *self.shape[1:]), np.float32)

    def merged_with(self, others, layer):
        """Returns the flow out of a layer that takes this one and others."""
        flows = [self, *others]
        symbolic = tuple(layer.compute_output_shape([flow.shape for flow in flows]))
        if all(flow._zeros is not None for flow in flows):
            _check_output(layer, symbolic, layer([flow._zeros for flow in flows]).shape)
        return Flow(symbolic)

    def through(self, layer):
        """Returns the flow out of a layer with one input."""
        symbolic = tuple(layer.compute_output_shape(self.shape))
        if isinstance(layer, LipschitzConv2D):
            # These pin the shapes they take, and would cost much to run.
            self._check(layer, layer.input_spec.shape)
        elif self._zeros is not None:
            _check_output(layer, symbolic, layer(self._zeros).shape)
        return Flow(symbolic)

    def check_enters(self, model):
        """Raises if a model is built for other images than these."""
        self._check(model, model.inputs[0].shape)

    def _check(self, layer, shape):
        sizes = tuple(shape[1:])
        fits = len(sizes) == len(self.shape) - 1 and all(
            size in (None, here) for size, here in zip(sizes, self.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"'{layer.name}' ({type(layer).__name__}) is built for inputs of shape "
                f"{tuple(shape)}, for which its bound would hold. Received: inputs of shape "
                f"{self.shape}. Build it for these."
            )


def _check_output(layer, symbolic, shape):
    if tuple(symbolic[1:]) != tuple(shape[1:]) or shape[0] != 1:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) repeats its input: an image gives "
            f"values of shape {tuple(shape)}, where Keras expects {tuple(symbolic)}. No bound "
            "holds for it at this size; build it for the size of its input."
        )

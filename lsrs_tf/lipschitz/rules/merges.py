"""Layers that take a list of inputs, even of one, and the bounds of what they make of them."""

import keras

from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound
from lsrs_tf.numerics.rounding import product, root_of_squares, round_up, total


def _average(bounds):
    return product([total(bounds), round_up(1 / len(bounds))])


MERGES = {
    keras.layers.Add: total,
    keras.layers.Average: _average,
    keras.layers.Concatenate: root_of_squares,
    # At each place at most as far apart as the farther pair of inputs.
    keras.layers.Maximum: root_of_squares,
    keras.layers.Minimum: root_of_squares,
    keras.layers.Subtract: total,
}


def of_merge(layer, bounds, input_shapes):
    """Returns the bound of a merging layer.

    Args:
        layer: a layer of a class in `MERGES`.
        bounds: list of floats, the bounds of its inputs.
        input_shapes: list of their shapes, batch dimension included.

    Raises:
        ValueError: if inputs of different shapes would be repeated, or images of a batch mixed.
    """
    shapes = {tuple(shape[1:]) for shape in input_shapes}
    if isinstance(layer, keras.layers.Concatenate):
        if layer.axis in (0, -len(input_shapes[0])):
            raise ValueError(
                f"Layer '{layer.name}' concatenates along the batch, so that its outputs belong to "
                f"no single image. Received: axis={layer.axis}. Use another axis."
            )
    # Otherwise the values of a smaller input would be repeated, and with them its norm.
    elif len(shapes) > 1 or any(None in shape for shape in shapes):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) combines inputs of different or "
            "unknown shapes, which may stretch the smaller ones. "
            f"Received: {sorted(map(str, shapes))}. Bring them to one known shape first."
        )
    return LayerBound(MERGES[type(layer)](bounds), BOUNDED, f"{type(layer).__name__} of inputs")

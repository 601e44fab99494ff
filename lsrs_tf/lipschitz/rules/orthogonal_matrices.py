"""Bounds of dense layers of this package."""

import math

import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import absolute_norm_of_matrices, added, linear
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ORTHOGONAL, LayerBound
from lsrs_tf.lipschitz.layer_properties import float64, number_of_values
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rules.spectra import NEARLY_ORTHOGONAL
from lsrs_tf.numerics import spectral_norm


@bound_rule(layers.OrthogonalDense)
def _orthogonal_dense(layer, input_shape):
    kernel = layer.orthogonal_kernel("float64").numpy()
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    return LayerBound(
        bound,
        ORTHOGONAL,
        "distance from orthogonality",
        smallest,
        evaluation=_dense_evaluation(layer, input_shape, bound, kernel),
    )


@bound_rule(layers.FixedDense)
def _fixed_dense(layer, input_shape):
    kernel = float64(layer.kernel)
    kind, method = ORTHOGONAL, "distance from orthogonality"
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    if not bound <= 1 + NEARLY_ORTHOGONAL:
        kind, method = BOUNDED, "matrix"
        bound, smallest = spectral_norm.of_matrices(kernel)
    evaluation = _dense_evaluation(layer, input_shape, bound, kernel)
    return LayerBound(bound, kind, method, smallest, evaluation=evaluation)


def _dense_evaluation(layer, input_shape, bound, kernel):
    inputs = number_of_values(input_shape)
    outputs = number_of_values(layer.compute_output_shape(input_shape))
    product_with_kernel = linear(
        bound, absolute_norm_of_matrices(kernel), kernel.shape[0], inputs, outputs
    )
    if not layer.use_bias:
        return product_with_kernel
    repeated = math.sqrt(outputs / layer.units)
    return product_with_kernel.then(added(repeated * float(np.linalg.norm(float64(layer.bias)))))

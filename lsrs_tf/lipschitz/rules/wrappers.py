"""Bounds of layers that hold another layer."""

import keras

from lsrs_tf.lipschitz.registry import bound_of, bound_rule


@bound_rule(keras.layers.SpectralNormalization)
def _spectral_normalization(layer, input_shape):
    # In inference it is the layer inside, whose kernel was divided by an estimate in the last
    # training step. That estimate proves nothing; the kernel that is there is bounded.
    return bound_of(layer.layer, input_shape)

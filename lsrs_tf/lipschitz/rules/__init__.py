"""The rules that bound layers, by kind. Importing this package registers all of them."""

from lsrs_tf.lipschitz.rules import (  # noqa: F401
    activations,
    kernels,
    movements,
    poolings,
    residuals,
    scalings,
    spectra,
    wrappers,
)

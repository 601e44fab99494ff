import numpy as np
import pytest

from lsrs_tf.layers import ParaunitaryConv2D
from tests.oracles import joined


@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 5), (1, 3)])
def test_kernel_in_pixels_has_the_size_asked_for_and_is_centred(kernel_size):
    layer = ParaunitaryConv2D(4, kernel_size)
    layer.build((None, 8, 9, 3))
    if kernel_size == (1, 1):
        assert layer.spectrum("float64").shape == (1, 1, 8, 3)
        return
    spectrum = joined(layer.spectrum("float64")).transpose(2, 3, 1, 0)
    kernel = np.fft.irfft2(spectrum, s=(8, 9))
    taps = np.abs(kernel).max(axis=(0, 1)) > 1e-12
    for axis, size in enumerate(kernel_size):
        places = np.flatnonzero(taps.any(axis=1 - axis))
        centred = (places + (size - 1) // 2 + 1) % taps.shape[axis]
        assert places.size == size
        assert centred.max() - centred.min() == size - 1

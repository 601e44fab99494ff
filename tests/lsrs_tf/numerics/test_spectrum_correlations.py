import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics.spectrum import absolute_correlations


@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 1), (2, 5)])
def test_is_that_of_the_definition(kernel_size):
    height, width = kernel_size
    kernel = np.random.default_rng(0).normal(size=(height, width, 3, 4))
    expected = np.zeros((3, 3))
    for down in range(-height + 1, height):
        for right in range(-width + 1, width):
            correlation = np.zeros((3, 3))
            for row in range(max(0, -down), min(height, height - down)):
                for column in range(max(0, -right), min(width, width - right)):
                    correlation += kernel[row, column] @ kernel[row + down, column + right].T
            expected += np.abs(correlation)
    np.testing.assert_allclose(absolute_correlations(tf.constant(kernel)), expected, atol=1e-12)

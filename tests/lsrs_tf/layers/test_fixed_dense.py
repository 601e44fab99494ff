import numpy as np
import pytest

from lsrs_tf.layers import FixedDense


def test_multiplies_with_its_matrix():
    layer = FixedDense(3, dtype="float64")
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer.build(inputs.shape)
    kernel = np.random.default_rng(1).normal(size=(4, 3))
    layer.set_weights([kernel, np.ones(3)])
    np.testing.assert_allclose(layer(inputs), inputs @ kernel + 1, atol=1e-12)
    assert not layer.trainable_weights
    assert FixedDense.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="expected axis -1"):
        layer(np.zeros((2, 5)))

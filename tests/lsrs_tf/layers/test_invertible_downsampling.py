import numpy as np
import pytest

from lsrs_tf.layers import InvertibleDownsampling


def test_moves_blocks_into_channels():
    images = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    outputs = InvertibleDownsampling((2, 3))(images).numpy()
    assert outputs.shape == (2, 2, 2, 18)
    np.testing.assert_array_equal(outputs[1, 1, 0], images[1, 2:4, 0:3].ravel())
    np.testing.assert_array_equal(np.sort(outputs.ravel()), np.sort(images.ravel()))


def test_config_round_trip():
    layer = InvertibleDownsampling(2)
    assert InvertibleDownsampling.from_config(layer.get_config()).pool_size == (2, 2)


def test_image_that_blocks_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="divide"):
        InvertibleDownsampling(2).build((None, 5, 4, 1))

import keras
import numpy as np
import pytest

from lsrs_tf import losses


def test_without_offset_it_is_keras_crossentropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(32, 7)).astype(np.float32), rng.integers(7, size=32)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    value = losses.OffsetCrossentropy(0.0, 1.0)(labels, logits)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("offset", [-0.1, np.nan, np.inf, None, "1", True])
def test_impossible_offsets_are_refused(offset):
    with pytest.raises(ValueError, match="`offset` of OffsetCrossentropy.*at least 0"):
        losses.OffsetCrossentropy(offset)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf, None])
def test_impossible_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` of OffsetCrossentropy.*above 0"):
        losses.OffsetCrossentropy(0.5, temperature)

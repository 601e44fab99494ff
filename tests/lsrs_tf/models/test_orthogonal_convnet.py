import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.models.base_classifier import BaseClassifier


@pytest.mark.parametrize(("size", "parametrization"), [(16, "cayley"), (8, "soc")])
def test_its_constant_is_one_and_small_changes_keep_their_size(size, parametrization):
    model = models.orthogonal_convnet(
        width=6, depth=2, input_shape=(size, size, 1), parametrization=parametrization
    )
    model.compile("sgd", lsrs_tf.losses.OffsetCrossentropy(offset=0.5))
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(16, size, size, 1)).astype(np.float32)
    model.fit(images, rng.integers(10, size=16), verbose=0)
    classifier = BaseClassifier(model)
    assert classifier.lipschitz_report.bound <= 1 + 1e-9
    pairs = classifier.margin_scale.pair_lipschitz[~np.eye(10, dtype=bool)]
    np.testing.assert_allclose(pairs, np.sqrt(2), rtol=1e-6)
    # The first convolution has at least as many outputs as inputs, and loses nothing.
    first = keras.Model(model.encoder.inputs, model.encoder.layers[3].output)
    step = 1e-3 * rng.normal(size=images.shape).astype(np.float32)
    moved = np.linalg.norm((first(images + step) - first(images)).numpy().ravel())
    assert moved == pytest.approx(np.linalg.norm(step), rel=1e-3)


def test_sizes_are_arguments():
    model = models.orthogonal_convnet(width=4, depth=1, num_classes=3, input_shape=(16, 32, 3))
    assert model.encoder.output_shape == (None, 2, 4, 16)
    assert model.head.output_shape == (None, 3)
    assert model.sigma == 0
    convolutions = [layer for layer in model.encoder.layers if hasattr(layer, "kernel_size")]
    assert [layer.filters for layer in convolutions] == [4, 8, 16]


def test_heads_without_constraints_leave_the_encoder_as_it_is():
    sizes = {"width": 4, "depth": 1, "num_classes": 3, "input_shape": (8, 8, 1)}
    encoder = models.orthogonal_convnet(**sizes).encoder
    for units, count in (((), 1), ((6,), 2), ([6, 5], 3)):
        model = models.orthogonal_convnet(**sizes, head_units=units)
        dense = [layer for layer in model.head.layers if isinstance(layer, keras.layers.Dense)]
        assert [layer.units for layer in dense] == [*units, 3]
        assert len(dense) == count
        assert model.encoder.get_config() == encoder.get_config()

import keras
import numpy as np
import pytest

from lsrs_tf import lipschitz_bound, lipschitz_report
from lsrs_tf.lipschitz import convolutions
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian

Transposed = keras.layers.Conv2DTranspose

CASES = [
    (lambda: Transposed(3, 3), (4, 5, 2)),
    (lambda: Transposed(2, 3, padding="same"), (5, 4, 3)),
    (lambda: Transposed(2, 3, strides=2), (3, 4, 2)),
    (lambda: Transposed(2, 3, strides=2, padding="same"), (3, 4, 2)),
    (lambda: Transposed(2, (2, 4), strides=(2, 3), padding="same"), (3, 2, 3)),
    (lambda: Transposed(4, 1, strides=2), (3, 3, 2)),
    (lambda: Transposed(1, 2, strides=3), (3, 3, 2)),
    (lambda: Transposed(2, 3, strides=2, output_padding=1), (3, 4, 2)),
    (lambda: Transposed(2, 3, strides=2, padding="same", output_padding=1), (3, 4, 2)),
    (lambda: Transposed(2, 3, strides=2, padding="same", output_padding=0), (3, 4, 2)),
]


def _built(make, shape):
    layer = make()
    layer.build((None, *shape))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("small", [True, False])
def test_bound_is_the_largest_singular_value(make, shape, small, monkeypatch):
    layer = _built(make, shape)
    if not small:
        monkeypatch.setattr(convolutions, "_SMALL_SIZE", 0)
    frozen = freeze_encoder(layer, (None, *shape))
    norm = np.linalg.norm(jacobian(frozen, shape), 2)
    bound = lipschitz_bound(layer, (None, *shape))
    assert norm * (1 - 1e-13) <= bound <= norm * (1 + (1e-9 if small else 0.5))
    assert lipschitz_bound(frozen) == bound


def test_activation_and_neighbours_count():
    images = keras.Input((4, 4, 2))
    values = Transposed(3, 3, strides=2, padding="same", name="up")(images)
    values = keras.layers.BatchNormalization()(values)
    values = keras.layers.Dense(1)(keras.layers.Flatten()(values))
    model = keras.Model(images, values)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(rng.normal(size=weight.shape)))
    norm = np.linalg.norm(jacobian(freeze_encoder(model), (4, 4, 2)), 2)
    # As one map: the product of the bounds would be larger.
    assert norm * (1 - 1e-12) <= lipschitz_bound(model) <= norm * (1 + 1e-9)
    layer = _built(lambda: Transposed(3, 3, activation="gelu"), (4, 4, 2))
    linear = Transposed(3, 3)
    linear.build((None, 4, 4, 2))
    linear.set_weights(layer.get_weights())
    expected = 1.12905 * lipschitz_bound(linear, (None, 4, 4, 2))
    assert lipschitz_bound(layer, (None, 4, 4, 2)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("strides", [1, 2, 3])
def test_claim_is_above_the_rounding_error(strides):
    layer = _built(lambda: Transposed(3, 3, strides=strides), (5, 4, 4))
    layer.bias.assign([1e6, -1e6, 1.0])
    frozen = freeze_encoder(keras.Sequential([keras.Input((5, 4, 4)), layer]))
    images = np.random.default_rng(0).uniform(size=(10, 5, 4, 4)).astype(np.float32)
    kernel, bias = (weight.numpy().astype(np.longdouble) for weight in frozen.weights)
    found = frozen(images).numpy()
    exact = np.zeros(found.shape, np.longdouble) + bias
    for row in range(5):
        for column in range(4):
            part = np.einsum("bi,hwfi->bhwf", images[:, row, column].astype(np.longdouble), kernel)
            top, left = row * strides, column * strides
            exact[:, top : top + 3, left : left + 3] += part
    error = np.sqrt(((found - exact) ** 2).sum(axis=(1, 2, 3))).max()
    assert error <= lipschitz_report(frozen).rounding_error < 1e-6


def test_what_is_not_proven_is_refused():
    layer = Transposed(3, 3, dilation_rate=2, name="culprit")
    layer.build((None, 4, 4, 2))
    with pytest.raises(ValueError, match=r"culprit.*dilation"):
        lipschitz_bound(layer, (None, 4, 4, 2))
    layer = Transposed(3, 3, name="culprit")
    layer.build((None, 4, 4, 2))
    with pytest.raises(ValueError, match=r"culprit.*unknown"):
        lipschitz_bound(layer, (None, None, 4, 2))
    layer = Transposed(3, 3, data_format="channels_first", name="culprit")
    layer.build((None, 2, 4, 4))
    with pytest.raises(ValueError, match="channels_first"):
        lipschitz_bound(layer, (None, 2, 4, 4))

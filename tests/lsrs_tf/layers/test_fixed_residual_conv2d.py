import keras
import mpmath
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound, lipschitz_report
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import circular_convolution, jacobian
from tests.precise import Mpmath, evaluate

SHAPE = (5, 6, 3)


def _hostile(kernel_size=3):
    """A layer with hidden channels of very different sizes, whose correlations cancel.

    The first two hidden channels are orthogonal to each other at all shifts, by cancellation; one
    is 1e9 times as large, and q makes its share of the other's T larger still.
    """
    layer = layers.SDPLipschitzConv2D(3, kernel_size, hidden_filters=4, bias_initializer="ones")
    layer.build((None, *SHAPE))
    rng = np.random.default_rng(0)
    # Numbers of few digits, so that what cancels does so exactly.
    kernel = rng.integers(-64, 64, size=layer.kernel.shape).astype(np.float64)
    first, second = rng.integers(1, 64, size=(2, *layer.kernel.shape[:2]))
    kernel[..., 0] = np.stack([first, 3 * first, 0 * first], axis=-1) * 2.0**-30
    kernel[..., 1] = np.stack([3 * second, -second, 0 * second], axis=-1)
    # The others are of other channels of the image.
    kernel[..., :2, 2:] = 0
    kernel[..., 3] *= 2.0**-12
    layer.kernel.assign(kernel)
    layer.log_q.assign([-4.0, 6.0, 0.0, 1.0])
    return layer


def _exact_diagonal(layer):
    """T by its definition, in 60 digits."""
    kernel = Mpmath.array(layer.kernel.numpy())
    rows, columns, _, hidden = kernel.shape
    padded = np.full((3 * rows, 3 * columns, *kernel.shape[2:]), mpmath.mpf(0), object)
    padded[rows : 2 * rows, columns : 2 * columns] = kernel
    sums = np.full((hidden, hidden), mpmath.mpf(0), object)
    for row in range(1 - rows, rows):
        for column in range(1 - columns, columns):
            shifted = np.roll(padded, (row, column), axis=(0, 1)).reshape(-1, hidden)
            sums = sums + abs(padded.reshape(-1, hidden).T @ shifted)
    q = [mpmath.exp(mpmath.mpf(float(value))) for value in layer.log_q.numpy()]
    return np.array([sum(sums[i, j] * q[j] / q[i] for j in range(hidden)) for i in range(hidden)])


def _frozen(layer):
    return freeze_encoder(keras.Sequential([keras.Input(SHAPE), layer]))


def test_stored_diagonal_is_proven_where_correlations_cancel():
    layer = _hostile()
    frozen = _frozen(layer)
    fixed = frozen.layers[-1]
    assert type(fixed) is layers.FixedResidualConv2D
    diagonal = fixed.diagonal.numpy()
    with mpmath.workdps(60):
        exact = _exact_diagonal(layer)
        relative = np.array([float(abs(d - e) / e) for d, e in zip(diagonal, exact, strict=True)])
    # Far more than a few units in the last place: what is stored must not be taken for exact.
    assert relative.max() > 1e-9
    matrix = jacobian(lambda images: circular_convolution(images, fixed.kernel.numpy()), SHAPE)
    norm = np.linalg.norm(matrix / np.sqrt(np.tile(diagonal, 30))[:, np.newaxis], 2)
    report = lipschitz_report(frozen)
    excess = max(0.0, norm**2 - 1)
    assert 1 + 2 * excess - 1e-12 <= report.bound <= 1 + 2 * excess + 1e-9
    # What is claimed is the rounding of this map, with these numbers.
    images = np.random.default_rng(1).uniform(size=(1, *SHAPE)).astype(np.float32)
    with mpmath.workdps(60):
        exact = evaluate(frozen, Mpmath.array(images), Mpmath)
        error = float(mpmath.norm(exact.ravel() - Mpmath.array(frozen(images).numpy()).ravel()))
    assert 0 < error <= report.rounding_error < 1e-5


def test_image_does_not_depend_on_how_another_device_correlates(monkeypatch):
    layer = _hostile()
    frozen = _frozen(layer)
    images = np.random.default_rng(1).uniform(size=(2, *SHAPE))
    outputs, bound = frozen(images), lipschitz_bound(frozen)

    def of_another_device(kernel):
        raise AssertionError("correlations are made once, when an encoder is frozen")

    monkeypatch.setattr(
        "lsrs_tf.layers.sdp_lipschitz_conv2d.absolute_correlations", of_another_device
    )
    np.testing.assert_array_equal(frozen(images), outputs)
    np.testing.assert_array_equal(tf.function(lambda x: frozen(x))(images), outputs)
    assert lipschitz_bound(frozen) == bound


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("hidden", range(4))
def test_stored_diagonal_that_is_too_small_shows_in_the_bound(
    kernel_size, large, hidden, monkeypatch
):
    layer = layers.SDPLipschitzConv2D(3, kernel_size, hidden_filters=4)
    layer.build((None, *SHAPE))
    frozen = _frozen(layer)
    if large:
        monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    assert 1 <= lipschitz_bound(frozen) <= 1 + 1e-9
    fixed = frozen.layers[-1]
    diagonal = fixed.diagonal.numpy()
    diagonal[hidden] /= 64
    fixed.diagonal.assign(diagonal)
    matrix = jacobian(lambda images: circular_convolution(images, fixed.kernel.numpy()), SHAPE)
    norm = np.linalg.norm(matrix / np.sqrt(np.tile(diagonal, 30))[:, np.newaxis], 2)
    assert norm > 1.1
    assert lipschitz_bound(frozen) == pytest.approx(1 + 2 * (norm**2 - 1), rel=1e-9)


@pytest.mark.parametrize("log_q", [[0, 0, 0], [40, 0, 80], [9, -9, 0]])
def test_large_layer_is_proven_by_its_kernel(log_q, monkeypatch):
    layer = layers.SDPLipschitzConv2D(3, 3)
    layer.build((None, *SHAPE))
    layer.log_q.assign(log_q)
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    report = lipschitz_report(_frozen(layer))
    assert 1 <= report.bound <= 1 + 1e-9
    assert ("by its kernel" in str(report)) == (log_q != [40, 0, 80])


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_diagonal_must_be_above_zero(value):
    layer = layers.FixedResidualConv2D(3, 3, name="culprit")
    layer.build((None, *SHAPE))
    layer.diagonal.assign([1.0, value, 1.0])
    with pytest.raises(ValueError, match=r"culprit.*\(FixedResidualConv2D\) must be above 0"):
        lipschitz_bound(layer)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_copies_and_files_hold_the_same_map(tmp_path, use_bias, scale):
    layer = layers.SDPLipschitzConv2D(
        4, (3, 2), strides=(1, 2), hidden_filters=7, use_bias=use_bias, bias_initializer="ones"
    )
    layer.build((None, *SHAPE))
    layer.kernel.assign(scale * layer.kernel.numpy())
    frozen = _frozen(layer)
    images = np.random.default_rng(0).uniform(size=(2, *SHAPE))
    double = layers.SDPLipschitzConv2D.from_config({**layer.get_config(), "dtype": "float64"})
    double.build((None, *SHAPE))
    double.set_weights(layer.get_weights())
    np.testing.assert_allclose(frozen(images), double(images), atol=1e-12)
    fixed = frozen.layers[-1]
    assert not fixed.trainable_weights
    assert type(fixed).from_config(fixed.get_config()).get_config() == fixed.get_config()
    np.testing.assert_array_equal(freeze_encoder(frozen)(images), frozen(images))
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    np.testing.assert_array_equal(loaded(images), frozen(images))
    assert lipschitz_bound(loaded) == lipschitz_bound(frozen)

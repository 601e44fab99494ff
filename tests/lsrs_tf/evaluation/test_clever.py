import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.stats

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.evaluation import clever_estimator
from lsrs_tf.evaluation.margin_gradients import MarginGradients

FEW = {"maxima": 20, "gradients_per_maximum": 16, "verbose": 0}


class _Margin(keras.layers.Layer):
    """Logits (f, 0) of a function f of flat images [batch, size]."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self._function = function

    def call(self, inputs):
        flat = keras.ops.reshape(inputs, (-1, inputs.shape[1] * inputs.shape[2]))
        margin = self._function(flat)
        return keras.ops.stack([margin, keras.ops.zeros_like(margin)], axis=1)


def _two_classes(function, size=2):
    return keras.Sequential([keras.Input((1, size, 1)), _Margin(function)])


def _images(*pixels):
    return np.array(pixels, np.float32).reshape(1, 1, -1, 1)


def _linear(num_classes=3, size=4):
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(size, num_classes)), rng.normal(size=num_classes)
    dense = keras.layers.Dense(num_classes)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([weights, bias])
    return model, weights, bias


def test_linear_classifier_has_its_exact_distance():
    model, weights, bias = _linear()
    images = np.random.default_rng(1).uniform(size=(3, 2, 2, 1)).astype(np.float32)
    result = lsrs_tf.clever(model, images, radius=10.0, **FEW)
    logits = images.reshape(3, 4) @ weights + bias
    for index, label in enumerate(logits.argmax(axis=1)):
        assert result.labels[index] == label
        others = [j for j in range(3) if j != label]
        distances = [
            (logits[index, label] - logits[index, j])
            / np.linalg.norm(weights[:, label] - weights[:, j])
            for j in others
        ]
        assert result.estimates[index] == pytest.approx(min(distances), rel=1e-5)
        assert set(result.fits[index, others]) == {"constant"}
        assert result.fits[index, label] == ""
        assert np.isnan(result.locations[index, label])
    assert result.estimates.dtype == np.float64
    assert result.fitted.all()


def test_no_estimate_exceeds_the_ball():
    model, _, _ = _linear()
    images = np.random.default_rng(1).uniform(size=(3, 2, 2, 1)).astype(np.float32)
    result = lsrs_tf.clever(model, images, radius=1e-3, **FEW)
    np.testing.assert_array_equal(result.estimates, 1e-3)


def test_quadratic_margin_has_the_constant_of_its_ball():
    # f = .09 - ||x - c||^2: the gradient is largest at the rim of the ball, 2 R, and the nearest
    # adversarial example is at .3.
    def margin(flat):
        return 0.09 - keras.ops.sum((flat - 0.5) ** 2, axis=1)

    for radius in (0.2, 0.3, 1.0):
        result = lsrs_tf.clever(
            _two_classes(margin), _images(0.5, 0.5), radius=radius, maxima=50,
            gradients_per_maximum=64, verbose=0,
        )  # fmt: skip
        assert result.locations[0, 1] == pytest.approx(2 * radius, rel=2e-3)
        assert result.estimates[0] == pytest.approx(0.09 / (2 * radius), rel=2e-3) or (
            result.estimates[0] == radius
        )
        assert result.estimates[0] < 0.3
        assert result.largest_norms[0, 1] <= result.locations[0, 1]


def test_smooth_margin_with_a_known_constant():
    # f = tanh(w^T x - b): the gradient is largest where the ball comes nearest to f = 0.
    weights, bias, radius = np.array([1.2, -0.9]), -1.0, 0.5

    def margin(flat):
        return keras.ops.tanh(flat[:, 0] * weights[0] + flat[:, 1] * weights[1] - bias)

    result = lsrs_tf.clever(
        _two_classes(margin), _images(0.6, 0.4), radius=radius, maxima=100,
        gradients_per_maximum=128, verbose=0,
    )  # fmt: skip
    slope = np.linalg.norm(weights)
    at_image = 0.6 * 1.2 - 0.4 * 0.9 + 1.0
    constant = slope / math.cosh(at_image - slope * radius) ** 2
    assert result.locations[0, 1] == pytest.approx(constant, rel=0.02)
    assert result.estimates[0] == pytest.approx(min(math.tanh(at_image) / constant, radius), 0.02)
    assert result.p_values[0, 1] > 0.05


def _staircase(flat):
    # As in Goodfellow (2018): flat wherever it has a gradient.
    return 2.5 - keras.ops.floor(flat[:, 0] / 0.2)


def _wall(flat):
    # Smooth, and so thin that no point falls into where it is steep.
    return 1 - 2 * keras.ops.sigmoid((flat[:, 0] - 0.6) * 1e5)


@pytest.mark.parametrize("margin", [_staircase, _wall])
def test_masked_gradients_are_overestimated(margin):
    """A negative control: what CLEVER says here is wrong, so that it cannot be a certificate."""
    model = _two_classes(margin)
    images, adversarial = _images(0.5, 0.5), _images(0.61, 0.5)
    result = lsrs_tf.clever(model, images, radius=1.0, **FEW)
    assert result.labels[0] == 0
    assert np.argmax(model(adversarial)[0]) == 1
    assert result.estimates[0] > 5 * np.linalg.norm(adversarial - images)


def _smooth_network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(4, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def test_estimates_depend_on_image_settings_and_seed_alone():
    model = _smooth_network()
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype(np.float32)

    def estimate(images, **changes):
        return lsrs_tf.clever(model, images, **{**FEW, "radius": 0.5, "seed": 5, **changes})

    result = estimate(images)
    np.testing.assert_array_equal(estimate(images).locations, result.locations)
    backwards = estimate(images[:0:-1])
    np.testing.assert_array_equal(backwards.estimates, result.estimates[:0:-1])
    for batch_size in (7, 16, 1000):
        other = estimate(images, batch_size=batch_size)
        np.testing.assert_allclose(other.largest_norms, result.largest_norms, rtol=1e-5)
        np.testing.assert_allclose(other.estimates, result.estimates, rtol=1e-3)
    assert np.all(estimate(images, seed=6).largest_norms != result.largest_norms)


def test_smoothed_model_is_its_base_classifier():
    images = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype(np.float32)
    model = models.convnet(width=4, num_classes=3)
    result = lsrs_tf.clever(model, images, radius=0.5, **FEW)
    logits = model.head(model.encode(images)).numpy()[0]
    assert result.labels[0] == logits.argmax()
    np.testing.assert_allclose(result.margins[0], logits.max() - logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 24])
def test_maxima_are_those_of_consecutive_points(size, rows):
    norms = np.random.default_rng(0).uniform(size=(24, 2))
    found = np.zeros((24 // size, 2))
    for first in range(0, 24, rows):
        clever_estimator._raise_maxima(found, norms[first : first + rows], first, size)
    np.testing.assert_array_equal(found, norms.reshape(-1, size, 2).max(axis=1))


def test_result_says_that_it_is_no_certificate():
    model, _, _ = _linear()
    result = lsrs_tf.clever(model, np.zeros((1, 2, 2, 1), np.float32), radius=1.0, **FEW)
    assert "estimate, not a certificate" in repr(result)
    assert result.column == lsrs_tf.CleverResult.column == "CLEVER (estimate)"
    assert not hasattr(result, "radii")


def test_fits_that_fail_are_told(monkeypatch):
    def margin(flat):
        return 1 - keras.ops.sum(flat**2, axis=1)

    monkeypatch.setattr(scipy.stats.weibull_max, "fit", lambda *_, **__: (np.nan, np.nan, np.nan))
    result = lsrs_tf.clever(_two_classes(margin), _images(0.1, 0.2), radius=1.0, **FEW)
    assert result.fits.tolist() == [["", "largest"]]
    assert result.locations[0, 1] == result.largest_norms[0, 1]
    assert not result.fitted[0]
    assert "1 images with a fit that failed" in repr(result)


def test_no_images_have_no_estimates():
    model, _, _ = _linear()
    result = lsrs_tf.clever(model, np.zeros((0, 2, 2, 1), np.float32), radius=1.0, **FEW)
    assert result.estimates.shape == (0,)
    assert "0 images" in repr(result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": 0}, "`radius` must be a number above 0"),
        ({"radius": math.nan}, "`radius` must be a number above 0"),
        ({"radius": -1.0}, "`radius` must be a number above 0"),
        ({"radius": True}, "`radius` must be a number above 0"),
        ({"maxima": 9}, "`maxima` must be at least 10"),
        ({"maxima": 10.0}, "`maxima` must be a whole number"),
        ({"gradients_per_maximum": 0}, "`gradients_per_maximum` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"seed": 0.5}, "`seed` must be"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    model, _, _ = _linear()
    with pytest.raises(ValueError, match=message):
        lsrs_tf.clever(
            model, np.zeros((1, 2, 2, 1), np.float32), **{**FEW, "radius": 1.0, **changes}
        )


def test_invalid_images_are_refused_before_the_work(monkeypatch):
    model, _, _ = _linear()
    images = np.zeros((2, 2, 2, 1), np.float32)
    images[1] = 1.5
    monkeypatch.setattr(MarginGradients, "norms", None)
    with pytest.raises(ValueError, match=r"Image 1 has pixels outside \[0, 1\]"):
        lsrs_tf.clever(model, images, radius=1.0, **FEW)


def test_logits_and_gradients_that_are_not_finite_are_refused():
    model = _two_classes(lambda flat: 1 + keras.ops.sqrt(flat[:, 0]))
    with pytest.raises(ValueError, match="classes 0 and 1 are NaN or infinite near image 0"):
        lsrs_tf.clever(model, _images(0.0, 0.0), radius=1.0, **FEW)
    model = _two_classes(lambda flat: keras.ops.log(flat[:, 0]))
    with pytest.raises(ValueError, match="logits of image 0 are not finite"):
        lsrs_tf.clever(model, _images(0.0, 0.0), radius=1.0, **FEW)


def test_a_tie_has_an_estimate_of_zero():
    for slope in (0.0, 1.0):
        model = _two_classes(lambda flat, slope=slope: slope * (flat[:, 0] - 0.5))
        result = lsrs_tf.clever(model, _images(0.5, 0.5), radius=1.0, **FEW)
        assert result.estimates[0] == 0


def test_interrupt_goes_through_and_leaves_nothing_behind(monkeypatch):
    model = _two_classes(lambda flat: 1 - keras.ops.sum(flat**2, axis=1))

    def estimates():
        return lsrs_tf.clever(model, _images(0.1, 0.2), radius=1.0, batch_size=50, **FEW).estimates

    expected = estimates()
    norms = MarginGradients.norms

    def interrupted(*arguments):
        yield next(norms(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MarginGradients, "norms", interrupted)
        with pytest.raises(KeyboardInterrupt):
            estimates()
    np.testing.assert_array_equal(estimates(), expected)


def test_progress_is_shown_with_the_time_left(capsys):
    model, _, _ = _linear()
    images = np.zeros((1, 2, 2, 1), np.float32)
    lsrs_tf.clever(model, images, radius=1.0, **{**FEW, "verbose": 1})
    text = capsys.readouterr().err
    assert "CLEVER (estimate): 100%" in text and "320/320" in text and "<" in text
    lsrs_tf.clever(model, images, radius=1.0, **FEW)
    assert capsys.readouterr().err == ""


def test_library_does_not_load_estimates_until_asked():
    code = (
        "import sys, lsrs_tf; assert 'lsrs_tf.evaluation.clever' not in sys.modules; "
        "assert callable(lsrs_tf.clever)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'clver'"):
        lsrs_tf.clver  # noqa: B018

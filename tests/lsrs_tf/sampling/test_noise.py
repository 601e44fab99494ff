import dataclasses
import math

import keras
import mpmath
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.layers import GroupSort, SDPLipschitzConv2D, Standardization
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.noise import ExactNoise
from tests.simulated import pixel, threshold_model


def _stream(seed=0):
    return random_streams.stream(seed, tf.fill([4, 4, 1], 0.5), random_streams.ESTIMATION)


def _quantile(t):
    """The upper quantile of a tail probability, to 30 digits."""
    mpmath.mp.dps = 40
    return mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(t))


def test_step_is_a_power_of_two_and_costs_little_radius():
    for size in (1, 64, 32_768, 200_704):
        exact = ExactNoise(0.25, (size,))
        assert math.log2(exact.step).is_integer()
        loss = exact.radius_loss(1e-6)
        assert math.sqrt(size) * exact.step + 2e-6 <= loss < 0.005
        assert exact.radius_loss(0.1) >= 0.2
    assert ExactNoise(0.25, (32_768,)).step == 2.0**-16


def test_points_are_those_of_every_number_in_the_interval():
    exact = ExactNoise(0.25, (32_768,))
    rng = np.random.default_rng(0)
    scale = mpmath.mpf(exact.sigma) / mpmath.mpf(exact.step)
    # All sizes of tail probabilities, from 2^-41 to 1/2.
    tails = np.unique((2.0 ** rng.uniform(10, 52, size=400)).astype(np.int64))
    points, ambiguous = (part.numpy() for part in exact._points(tf.constant(tails)))
    # Only tail probabilities that hardly ever occur are too coarse for the grid.
    assert ambiguous[tails > 2**24].sum() < 3 and not ambiguous.all()
    for tail, point, unsure in zip(tails.tolist(), points.tolist(), ambiguous, strict=True):
        if unsure:
            continue
        # Larger tails have smaller quantiles: the ends decide for all between.
        for end in (tail, tail + 1):
            value = scale * _quantile(mpmath.mpf(end) / 2**53)
            assert abs(value - point) <= mpmath.mpf(1) / 2


def test_quantiles_are_as_accurate_as_is_allowed_for():
    rng = np.random.default_rng(1)
    tails = (2.0 ** rng.uniform(10, 52, size=300)).astype(np.int64)
    probabilities = (tails + 0.5) * 2.0**-53
    found = -tf.math.ndtri(tf.constant(probabilities)).numpy()
    for t, quantile in zip(probabilities.tolist(), found.tolist(), strict=True):
        # A quarter of the allowance, relative to the quantile or, near zero, to what it multiplies.
        assert abs(quantile - _quantile(t)) <= 0.5e-14 * max(quantile, 1e-2)


def test_interval_of_quantiles_is_as_narrow_as_the_proof_says():
    for tail in (1024, 5000, 2**20, 2**40, 2**51, 2**52 - 1):
        middle = (mpmath.mpf(tail) + 0.5) / 2**53
        quantile = _quantile(middle)
        bound = 1.1 * mpmath.mpf(2) ** -54 / (middle * max(quantile, mpmath.mpf("0.48")))
        for end in (tail, tail + 1):
            assert abs(_quantile(mpmath.mpf(end) / 2**53) - quantile) <= bound


def test_density_is_at_least_what_the_proof_says():
    for x in np.linspace(0, 8, 200):
        tail, density = scipy.stats.norm.sf(x), scipy.stats.norm.pdf(x)
        assert density >= tail * max(x, 0.48)


def test_draws_follow_the_rounded_gaussian_law():
    exact = ExactNoise(0.25, (3,))
    coarse = ExactNoise(0.25, (3,))
    coarse.step = 0.125
    values, usable = (part.numpy() for part in coarse.draw(_stream(), 0, 100_000))
    assert usable.all()
    cells = np.round(values.ravel() / 0.125).astype(int)
    edges = (np.arange(-30, 31) - 0.5) * 0.125 / 0.25
    expected = np.diff(scipy.stats.norm.cdf(edges)) * cells.size
    found = np.bincount(cells + 30, minlength=60)[:60]
    keep = expected > 20
    chi_square = ((found - expected)[keep] ** 2 / expected[keep]).sum()
    assert scipy.stats.chi2.sf(chi_square, keep.sum() - 1) > 1e-4
    fine, usable = (part.numpy() for part in exact.draw(_stream(), 0, 20_000))
    assert usable.all()
    assert scipy.stats.kstest(fine.ravel() / 0.25, "norm").pvalue > 1e-3
    np.testing.assert_array_equal(fine, np.round(fine / exact.step) * exact.step)


def test_draws_do_not_depend_on_what_is_drawn_with_them():
    exact = ExactNoise(0.25, (2, 3))
    whole = exact.draw(_stream(), 0, 30)[0].numpy()
    parts = [exact.draw(_stream(), first, 10)[0] for first in (0, 10, 20)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    in_graph = tf.function(lambda first: exact.draw(_stream(), first, 30)[0])
    np.testing.assert_array_equal(in_graph(tf.constant(0, tf.int64)), whole)


def test_few_samples_of_a_large_latent_are_lost():
    _, usable = ExactNoise(0.25, (16, 16, 128)).draw(_stream(), 0, 200)
    assert usable.numpy().all()


def test_ambiguous_draws_are_not_usable(monkeypatch):
    exact = ExactNoise(0.25, (4,))
    right = exact._points

    def every_third(tails):
        points, _ = right(tails)
        number = tf.range(tf.shape(tails)[0])[:, tf.newaxis]
        return points, (number % 3 == 0) & (tf.range(4) == 1)

    monkeypatch.setattr(exact, "_points", every_third)
    _, usable = exact.draw(_stream(), 0, 9)
    np.testing.assert_array_equal(usable, np.arange(9) % 3 > 0)
    _, ambiguous = right(tf.constant([0, 1023, 2**45], tf.int64))
    np.testing.assert_array_equal(ambiguous, [True, True, False])


def test_sums_of_latent_and_noise_are_exact():
    exact = ExactNoise(0.25, (1_000,))
    latents = np.random.default_rng(0).uniform(-60, 60, size=1_000)
    prepared = exact.prepared(tf.constant(latents)).numpy()
    assert np.abs(prepared - latents).max() <= exact.step / 2 * (1 + 1e-12)
    drawn = exact.draw(_stream(), 0, 50)[0].numpy()
    summed = prepared + drawn
    assert summed.dtype == np.float32
    np.testing.assert_array_equal(summed, prepared.astype(np.float64) + drawn.astype(np.float64))
    limit = 2.0**23 * exact.step
    clipped = exact.prepared(tf.constant([limit, -1e30, math.nan, 1.0], tf.float64)).numpy()
    np.testing.assert_array_equal(clipped, [limit - exact.step, exact.step - limit, math.nan, 1.0])


def test_latents_that_are_clipped_have_honest_certificates():
    # All latents of the image and its surroundings lie beyond what float32 holds exactly.
    exact = ExactNoise(1.0, (4, 4, 1))
    images = keras.Input((4, 4, 1))
    encoder = keras.Model(images, Standardization(-2.0 * exact._limit, 1.0)(images))
    head = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    head.layers[-1].set_weights([np.zeros((16, 2)), np.array([1.0, 0.0])])
    model = models.LatentSmoothingModel(encoder, head, 1.0)
    pair = np.zeros((2, 4, 4, 1), np.float32)
    pair[1, 0, 0] = 0.2
    result = lsrs_tf.certify(model, pair, n=1_000, noise="exact", verbose=0)
    np.testing.assert_array_equal(result.labels, [0, 0])


def test_rounding_of_the_encoder_is_counted():
    # Adding 2^52 and taking it away again leaves whole numbers.
    shape = (16, 16, 4)
    encoder = keras.Sequential(
        [
            keras.Input(shape),
            Standardization([-(2.0**52)] * 4, 1.0),
            GroupSort(),
            Standardization([2.0**52] * 4, 1.0),
        ]
    )
    head = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.stack([np.full(1024, -1.0), np.full(1024, 1.0)], axis=1)
    head.layers[-1].set_weights([kernel, np.array([512.0, -512.0])])
    model = models.LatentSmoothingModel(encoder, head, 1.0)
    pair = np.stack([np.full(shape, 0.505), np.full(shape, 0.495)]).astype(np.float32)
    # The customary noise certifies both far beyond their distance, 0.32, for different labels.
    false = lsrs_tf.certify(model, pair, n=1_000, verbose=0)
    assert set(false.labels) == {0, 1} and false.radii.min() > 1
    honest = lsrs_tf.certify(model, pair, n=1_000, noise="exact", verbose=0)
    np.testing.assert_array_equal(honest.labels, [-1, -1])
    assert honest.scale.loss > 1


def _pair_at_a_rounding():
    """Two images of 2 x 2 pixels, apart by one rounding of float32 in one pixel."""
    images = np.full((2, 2, 2, 1), 0.25, np.float32)
    images[:, 0, 0, 0] = 0.5, np.nextafter(np.float32(0.5), np.float32(1))
    return images


def _threshold_of_first_value(latent_shape, threshold):
    head = keras.Sequential(
        [keras.Input(latent_shape), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    kernel = np.zeros((int(np.prod(latent_shape)), 2))
    kernel[0, 0] = 1
    head.layers[-1].set_weights([kernel, np.array([0.0, threshold])])
    return head


def test_constants_that_cancel_inside_a_softmax_are_counted():
    encoder = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    kernel = np.zeros((4, 2))
    kernel[0, 0] = 16
    encoder.layers[-1].set_weights([kernel, np.full(2, 1e17)])
    model = models.LatentSmoothingModel(encoder, _threshold_of_first_value((2,), 0.75), 0.1)
    _check_no_false_certificates(model)


def test_constants_that_cancel_inside_a_residual_layer_are_counted():
    layer = SDPLipschitzConv2D(2, 1)
    encoder = keras.Sequential([keras.Input((2, 2, 1)), layer])
    kernel = np.zeros((1, 1, 2, 2))
    kernel[0, 0, 0] = 16, -16
    layer.kernel.assign(kernel)
    layer.bias.assign(np.full(2, 1e17))
    model = models.LatentSmoothingModel(encoder, _threshold_of_first_value((2, 2, 2), -0.5), 0.25)
    _check_no_false_certificates(model)


def _check_no_false_certificates(model):
    images = _pair_at_a_rounding()
    settings = {"n": 2_000, "verbose": 0}
    # Both images are certified for different labels where the encoder's rounding is not counted.
    false = lsrs_tf.certify(model, images, **settings)
    assert sorted(false.labels) == [0, 1] and false.radii.min() > 1e-3
    honest = lsrs_tf.certify(model, images, noise="exact", **settings)
    np.testing.assert_array_equal(honest.labels, [-1, -1])


def test_sigma_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="noise='exact'.*sigma below"):
        ExactNoise(20.0, (32_768,))


class _TellTale(keras.layers.Layer):
    """Recognizes noise that was added to nothing: float32 products of sigma and a number."""

    def __init__(self, sigma, **kwargs):
        super().__init__(**kwargs)
        self.sigma = sigma

    def call(self, inputs):
        values = tf.reshape(inputs, [-1, inputs.shape[1] * inputs.shape[2]])
        sigma = np.float32(self.sigma)
        factor = values / sigma
        bits = tf.bitcast(factor, tf.int32)
        possible = tf.zeros(tf.shape(values), tf.bool)
        for step in (-1, 0, 1):
            neighbour = tf.bitcast(bits + step, tf.float32)
            possible |= neighbour * sigma == values
        all_possible = tf.reduce_all(possible, axis=1)
        return tf.stack(
            [tf.where(all_possible, 0.0, 1.0), tf.where(all_possible, 1.0, 0.0)], axis=1
        )


def test_float32_noise_certifies_falsely_where_exact_noise_does_not():
    sigma, shape = 0.37, (4, 4, 1)
    images = keras.Input(shape)
    encoder = keras.Model(images, keras.layers.Identity()(images))
    latents = keras.Input(shape)
    head = keras.Model(latents, _TellTale(sigma)(latents))
    model = models.LatentSmoothingModel(encoder, head, sigma)
    # Adding a thousandth to each pixel: a distance of 0.004.
    pair = np.stack([np.zeros(shape), np.full(shape, 0.001)]).astype(np.float32)
    settings = {"n0": 100, "n": 2_000, "verbose": 0}
    float32 = lsrs_tf.certify(model, pair, noise="float32", **settings)
    # Two labels, each certified far beyond the other image: at least one certificate is false.
    assert set(float32.labels) == {0, 1}
    assert float32.radii.min() > 0.3
    exact = lsrs_tf.certify(model, pair, noise="exact", **settings)
    certified = exact.labels[exact.labels >= 0]
    assert len(set(certified)) <= 1


@pytest.mark.parametrize("method", ["fixed", "sequential"])
def test_radius_is_lowered_by_the_rounding(method):
    model = threshold_model(0.25, 0.25)
    images = np.stack([pixel(0.9), pixel(0.26)])
    settings = {"n0": 50, "n": 20_000, "verbose": 0}
    if method == "sequential":
        settings.update(method=method, target_radii=[0.3])
    result = lsrs_tf.certify(model, images, noise="exact", **settings)
    assert result.settings.noise == "exact"
    assert 0.001 < result.scale.loss < 0.005
    quantile = scipy.stats.norm.ppf(result.p_lower[0])
    if method == "fixed":
        assert result.radii[0] == pytest.approx(0.25 * quantile - result.scale.loss, rel=1e-9)
    else:
        assert result.radii[0] == 0.3
        assert 0.25 * quantile - result.scale.loss >= 0.3
    assert result.radii[0] < 0.65


def test_false_certificates_stay_within_alpha():
    alpha, runs = 0.2, 300
    certifier = Certifier(
        threshold_model(0.25, 0.25), n0=10, n=50, alpha=alpha, batch_size=50, noise="exact"
    )
    wrong = 0
    for seed in range(runs):
        certifier.settings = dataclasses.replace(certifier.settings, seed=seed)
        certificate = certifier.certify(pixel(0.25))
        wrong += certificate.label != -1
    assert scipy.stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 1e-4


def test_draws_stay_outside_of_xla():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    image = np.full((8, 8, 1), 0.5, np.float32)
    plain, compiled = (
        Certifier(model, n0=20, n=300, noise="exact", jit_compile=jit_compile).certify(image)
        for jit_compile in (False, True)
    )
    assert np.abs(plain.counts - compiled.counts).sum() <= 2


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="float32, exact"):
        lsrs_tf.certify(threshold_model(0.25, 0.25), pixel(0.5)[np.newaxis], noise="gaussian")

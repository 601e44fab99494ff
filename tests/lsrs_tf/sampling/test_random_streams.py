import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from lsrs_tf.sampling import random_streams


def _stream(seed=0, value=0.5, purpose=random_streams.ESTIMATION):
    return random_streams.stream(seed, tf.fill([4, 4, 1], value), purpose)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3, 4)])
def test_a_sample_is_the_same_whatever_is_drawn_with_it(shape, jit_compile):
    def draws(samples):
        function = tf.function(
            lambda stream, first: random_streams.standard_normal(stream, first, samples, shape),
            jit_compile=jit_compile,
        )
        starts = range(0, 30, samples)
        parts = [function(_stream(), tf.constant(first, tf.int64)) for first in starts]
        return np.concatenate(parts)[:30]

    whole = draws(30)
    for samples in (1, 7, 10):
        np.testing.assert_array_equal(draws(samples), whole)
    # No number comes twice.
    assert len(np.unique(whole)) == whole.size


def test_compiled_and_plain_noise_differ_in_rounding_only():
    def draw(stream):
        return random_streams.standard_normal(stream, tf.constant(5, tf.int64), 100, (50,))

    compiled = tf.function(draw, jit_compile=True)(_stream())
    np.testing.assert_allclose(compiled, draw(_stream()), atol=1e-5)


def test_samples_are_standard_normal_and_uncorrelated():
    draws = random_streams.standard_normal(_stream(), 0, 20_000, (7,)).numpy().astype(np.float64)
    assert scipy.stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
    correlations = np.corrcoef(draws.T) - np.eye(7)
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(20_000)


def test_streams_of_seed_image_and_purpose_differ():
    streams = [
        _stream(),
        _stream(seed=1),
        _stream(value=0.25),
        _stream(purpose=random_streams.SELECTION),
        _stream(purpose=random_streams.PREDICTION),
        random_streams.shared_stream(0, random_streams.SELECTION),
        random_streams.shared_stream(0, random_streams.ESTIMATION),
        random_streams.shared_stream(1, random_streams.ESTIMATION),
    ]
    draws = [
        random_streams.standard_normal(stream, 0, 100, (10,)).numpy().ravel() for stream in streams
    ]
    # A few of so many float32 numbers may be equal by chance; equal streams would share a thousand.
    assert len(np.unique(np.concatenate(draws))) > 8 * 1000 - 10
    np.testing.assert_array_equal(_stream(), streams[0])


def test_equal_images_have_one_stream():
    np.testing.assert_array_equal(_stream(value=0.0), _stream(value=-0.0))


def test_negative_and_large_seeds_are_seeds():
    assert len({tuple(_stream(seed=seed).numpy()) for seed in (-1, 0, 2**63 - 1)}) == 3


def test_packed_samples_are_those_of_their_streams():
    streams = [_stream(), _stream(seed=1), _stream(value=0.25)]
    firsts, counts = [0, 7, 300], [5, 1, 9]

    def draw(stream, first, samples):
        normal = random_streams.standard_normal(stream, first, samples, (2, 3))
        return normal, normal[:, 0, 0] > 0

    packed, usable = tf.function(
        lambda *arguments: random_streams.packed(draw, *arguments, (2, 3)), autograph=False
    )(tf.stack(streams), tf.constant(firsts, tf.int64), tf.constant(counts, tf.int64))
    expected = [
        random_streams.standard_normal(stream, first, count, (2, 3))
        for stream, first, count in zip(streams, firsts, counts, strict=True)
    ]
    np.testing.assert_array_equal(packed, np.concatenate(expected))
    np.testing.assert_array_equal(usable, np.concatenate(expected)[:, 0, 0] > 0)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_integers_of_a_sample_are_the_same_whatever_is_drawn_with_it(size):
    whole = np.stack(random_streams.uniform_pairs(_stream(), 0, 30, size))
    parts = [
        np.stack(random_streams.uniform_pairs(_stream(), first, 10, size)) for first in (0, 10, 20)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert whole.shape == (2, 30, size)
    assert len(np.unique(whole)) == whole.size

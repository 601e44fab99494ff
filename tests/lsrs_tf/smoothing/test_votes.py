import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.smoothing import noise, votes


def test_doubtful_rows_vote_for_no_class():
    logits = np.array(
        [
            [1, 2, 3],
            [3, 3, 1],
            [3, 1, 1],
            [np.nan, 1, 2],
            [2, np.nan, 1],
            [np.inf, 1, 2],
            [-np.inf, 1, 2],
            [0, 0, 0],
        ],
        np.float32,
    )
    expected = np.zeros((8, 3), bool)
    expected[0, 2] = expected[2, 0] = True
    np.testing.assert_array_equal(votes.votes_of(tf.constant(logits)), expected)
    compiled = tf.function(votes.votes_of, jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(logits)), expected)


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 64])
@pytest.mark.parametrize("samples", [1, 10, 31])
def test_exactly_the_wanted_samples_are_counted(samples, chunk_size):
    stream = noise.stream(0, tf.zeros([1]), noise.ESTIMATION)
    latent = tf.constant([0.5, 0.0])

    def head(noisy):
        return noisy

    counts = votes.count_votes(
        lambda first, last: votes.chunk_votes(head, latent, 2.0, stream, first, last, chunk_size),
        samples,
        chunk_size,
        2,
    ).numpy()
    draws = noise.standard_normal(stream, 0, samples, (2,)).numpy()
    noisy = np.array([0.5, 0.0], np.float32) + np.float32(2.0) * draws
    np.testing.assert_array_equal(counts, np.bincount(noisy.argmax(axis=1), minlength=2))

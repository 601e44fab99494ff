import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.sampling import random_streams, votes
from lsrs_tf.sampling.noise import Float32Noise


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
    stream = random_streams.stream(0, tf.zeros([1]), random_streams.ESTIMATION)
    latent = tf.constant([0.5, 0.0])

    draw = Float32Noise(2.0, (2,)).draw
    counts = votes.count_votes(
        lambda first, last: votes.chunk_votes(
            votes.votes_of, latent, draw, stream, first, last, chunk_size
        ),
        samples,
        chunk_size,
        [2],
    ).numpy()
    draws = random_streams.standard_normal(stream, 0, samples, (2,)).numpy()
    noisy = np.array([0.5, 0.0], np.float32) + np.float32(2.0) * draws
    np.testing.assert_array_equal(counts, np.bincount(noisy.argmax(axis=1), minlength=2))


def test_unusable_samples_count_for_no_class():
    def draw(stream, first, samples):
        numbers = tf.range(first, first + samples)
        return tf.zeros([samples, 2]), numbers % 3 > 0

    latent = tf.constant([1.0, 0.0])
    counts = votes.count_votes(
        lambda first, last: votes.chunk_votes(votes.votes_of, latent, draw, None, first, last, 7),
        tf.constant(30, tf.int64),
        7,
        [2],
    )
    np.testing.assert_array_equal(counts, [20, 0])
    streams = random_streams.stream(0, tf.zeros([1]), random_streams.ESTIMATION)[tf.newaxis]
    packed = votes.packed_votes(
        votes.votes_of,
        tf.stack([latent, latent[::-1]]),
        draw,
        tf.repeat(streams, 2, axis=0),
        tf.constant([0, 3], tf.int64),
        tf.constant([3, 3], tf.int64),
        10,
    )
    np.testing.assert_array_equal(packed, [[2, 0], [0, 2]])


def test_shared_noise_is_added_to_every_latent():
    stream = random_streams.shared_stream(0, random_streams.ESTIMATION)
    draw = Float32Noise(2.0, (2,)).draw
    latents = tf.constant([[0.5, 0.0], [0.0, 0.5], [5.0, 0.0]])
    counts = votes.count_votes(
        lambda first, last: votes.shared_votes(
            votes.votes_of, latents, draw, stream, first, last, 7
        ),
        tf.constant(100, tf.int64),
        7,
        [3, 2],
    ).numpy()
    draws = random_streams.standard_normal(stream, 0, 100, (2,)).numpy() * np.float32(2.0)
    for latent, found in zip(latents.numpy(), counts, strict=True):
        labels = (latent + draws).argmax(axis=1)
        np.testing.assert_array_equal(found, np.bincount(labels, minlength=2))


@pytest.mark.parametrize("counts", [[5, 0, 9, 3], [1], [40, 2], [0, 0]])
def test_replicas_split_the_requests_of_a_pass(counts):
    firsts = np.arange(len(counts)) * 1_000
    wanted = [(i, first + k) for i, first in enumerate(firsts) for k in range(counts[i])]
    found, chunk_size = [], 6
    for replica in range(-(-sum(counts) // chunk_size)):
        part_firsts, part_counts = votes.requests_of_replica(
            tf.constant(firsts), tf.constant(counts, tf.int64), chunk_size, replica
        )
        part = [
            (i, first + k)
            for i, (first, count) in enumerate(zip(part_firsts, part_counts, strict=True))
            for k in range(count)
        ]
        assert len(part) <= chunk_size
        found += part
    assert found == wanted

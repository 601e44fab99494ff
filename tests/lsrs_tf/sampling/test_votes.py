import keras
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


def _graph(batch_size, noise, replicas=1):
    """Returns the votes of a head that gives the latent back, in two classes."""
    head = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    return votes.VoteGraph(head, noise, 2, batch_size, jit_compile=False, replicas=replicas)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
@pytest.mark.parametrize("samples", [1, 10, 31])
def test_exactly_the_wanted_samples_are_counted(samples, batch_size):
    image, latent = tf.zeros([1]), tf.constant([0.5, 0.0])
    stream = random_streams.stream(0, image, random_streams.ESTIMATION)
    graph = _graph(batch_size, Float32Noise(2.0, (2,)))
    counts = graph.sample_counts(image, latent, 0, random_streams.ESTIMATION, samples).numpy()
    draws = random_streams.standard_normal(stream, 0, samples, (2,)).numpy()
    noisy = np.array([0.5, 0.0], np.float32) + np.float32(2.0) * draws
    np.testing.assert_array_equal(counts, np.bincount(noisy.argmax(axis=1), minlength=2))


class _PartlyUsableNoise:
    """No noise, of which every third sample is unusable."""

    compiles = False

    def draw(self, stream, first, samples):
        numbers = tf.range(first, first + tf.cast(samples, tf.int64))
        return tf.zeros([samples, 2]), numbers % 3 > 0


def test_unusable_samples_count_for_no_class():
    image, latent = tf.zeros([1]), tf.constant([1.0, 0.0])
    counts = _graph(7, _PartlyUsableNoise()).sample_counts(image, latent, 0, 1, 30)
    np.testing.assert_array_equal(counts, [20, 0])
    streams = random_streams.stream(0, image, random_streams.ESTIMATION)[tf.newaxis]
    packed = _graph(10, _PartlyUsableNoise()).packed_counts(
        tf.stack([latent, latent[::-1]]),
        tf.repeat(streams, 2, axis=0),
        tf.constant([0, 3], tf.int64),
        tf.constant([3, 3], tf.int64),
    )
    np.testing.assert_array_equal(packed, [[2, 0], [0, 2]])


def test_shared_noise_is_added_to_every_latent():
    purpose = random_streams.ESTIMATION
    latents = tf.constant([[0.5, 0.0], [0.0, 0.5], [5.0, 0.0]])
    graph = _graph(21, Float32Noise(2.0, (2,)))
    counts = graph.shared_counts(latents, 0, purpose, tf.constant(100, tf.int64)).numpy()
    stream = random_streams.shared_stream(0, purpose)
    draws = random_streams.standard_normal(stream, 0, 100, (2,)).numpy() * np.float32(2.0)
    for latent, found in zip(latents.numpy(), counts, strict=True):
        labels = (latent + draws).argmax(axis=1)
        np.testing.assert_array_equal(found, np.bincount(labels, minlength=2))


class _RecordingNoise:
    """No noise; remembers which samples were asked for."""

    compiles = False

    def __init__(self):
        self.asked = []

    def draw(self, stream, first, samples):
        first, samples = int(first), int(samples)
        self.asked += [(int(stream[0]), first + k) for k in range(samples)]
        return tf.zeros([samples, 2]), tf.ones([samples], tf.bool)


@pytest.mark.parametrize("counts", [[5, 0, 9, 3], [1], [40, 2], [0, 0]])
def test_replicas_split_the_requests_of_a_pass(counts):
    firsts = np.arange(len(counts)) * 1_000
    wanted = [(i, first + k) for i, first in enumerate(firsts) for k in range(counts[i])]
    noise, batch_size = _RecordingNoise(), 6
    replicas = max(2, -(-sum(counts) // batch_size))
    graph = _graph(batch_size, noise, replicas)
    total = 0
    for replica in range(replicas):
        total += graph.packed_counts(
            tf.repeat([[1.0, 0.0]], len(counts), axis=0),
            tf.cast([[i, 0, 0] for i in range(len(counts))], tf.uint64),
            tf.constant(firsts),
            tf.constant(counts, tf.int64),
            replica,
        )
    assert noise.asked == wanted
    np.testing.assert_array_equal(total[:, 0], counts)


@pytest.mark.parametrize("samples", [1, 12, 50])
def test_replicas_split_the_samples_of_a_latent(samples):
    image, latent = tf.zeros([1]), tf.constant([0.5, 0.0])
    noise = Float32Noise(2.0, (2,))
    alone = _graph(5, noise).sample_counts(image, latent, 0, 1, samples)
    graph = _graph(5, noise, replicas=3)
    parts = [graph.sample_counts(image, latent, 0, 1, samples, replica) for replica in range(3)]
    np.testing.assert_array_equal(sum(parts), alone)

"""Counting the votes of a head over noisy copies of latents, in passes of a fixed size.

All of this runs in graphs; `SmoothedClassifier` is what Python calls.
"""

import functools

import tensorflow as tf

from lsrs_tf.sampling import random_streams


def votes_of(logits):
    """Returns the one vote of each row of logits, or none.

    A row whose largest logit is tied, or that holds a value that is not finite, votes for no class:
    a doubt counts as a miss.

    Args:
        logits: float tensor [samples, classes].

    Returns:
        bool tensor [samples, classes] with at most one True in each row.
    """
    largest = logits == tf.reduce_max(logits, axis=-1, keepdims=True)
    alone = tf.reduce_sum(tf.cast(largest, tf.int32), axis=-1, keepdims=True) == 1
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1, keepdims=True)
    return largest & alone & finite


class VoteGraph:
    """The votes of a head, of noise and of one size of passes.

    The shape of the work of a pass is the same whether it is full or not. Where several replicas
    count, each of them takes its own part of the samples, and the sum is the same.

    Args:
        head: Keras layer or model, from float32 latents [batch_size, *latent shape] to logits
            [batch_size, classes], with every row computed by itself.
        noise: `Float32Noise` or `ExactNoise`.
        num_classes: int.
        batch_size: int, noisy samples in one pass on one replica.
        jit_compile: bool, whether XLA compiles what it can.
        replicas: int, how many replicas share the samples.

    Attributes:
        head_votes: function from noisy latents float32 [rows, *latent shape] to `votes_of` their
            logits.
        pass_votes: function (latent, stream, first, last) that returns the votes of samples `first`
            to `first + batch_size - 1` of one latent, bool [batch_size, classes]; samples from
            `last` on have none.
    """

    def __init__(self, head, noise, num_classes, batch_size, jit_compile, replicas=1):
        self._head, self._noise, self._num_classes = head, noise, num_classes
        self._batch_size, self._replicas = batch_size, replicas
        # XLA computes quantiles less accurately than the proof of exact noise allows.
        draws_compile = jit_compile and noise.compiles
        draws = functools.partial(tf.function, jit_compile=draws_compile, autograph=False)
        self.head_votes = tf.function(self._head_votes, jit_compile=jit_compile, autograph=False)
        self.pass_votes = draws(self._pass_votes)
        self._pass_counts = draws(self._counts_of_one_pass)

    def sample_counts(self, image, latent, seed, purpose, samples, replica=0):
        """Counts the votes of noisy copies of one latent.

        Args:
            image: float32 tensor; its content names the random stream.
            latent: float32 tensor of a static shape, the image's latent.
            seed: int64 scalar tensor.
            purpose: int64 scalar tensor, see `random_streams.stream`.
            samples: int64 scalar tensor.
            replica: int or int32 scalar tensor, which of the replicas.

        Returns:
            int64 tensor [classes].
        """
        stream, samples = random_streams.stream(seed, image, purpose), tf.cast(samples, tf.int64)
        # One pass at a time, or the memory would grow.
        _, counts = tf.while_loop(
            lambda first, counts: first < samples,
            lambda first, counts: (
                first + self._replicas * self._batch_size,
                counts + self._pass_counts(latent, stream, first, samples),
            ),
            self._start(replica, self._batch_size, [self._num_classes]),
            parallel_iterations=1,
        )
        return counts

    def packed_counts(self, latents, streams, firsts, counts, replica=0):
        """Counts the votes of samples of several latents in one pass.

        Args:
            latents: float32 tensor [requests, *latent shape].
            streams: uint64 tensor [requests, 3], see `random_streams.stream`.
            firsts: int64 tensor [requests], number of the first sample of each request.
            counts: int64 tensor [requests], how many of each, `batch_size` for each replica at
                most.
            replica: int or int32 scalar tensor, which of the replicas.

        Returns:
            int64 tensor [requests, classes].
        """
        firsts, counts = self._requests_of_replica(firsts, counts, replica)
        votes, owners = self.packed_votes(latents, streams, firsts, counts)
        return tf.math.unsorted_segment_sum(tf.cast(votes, tf.int64), owners, tf.shape(counts)[0])

    def packed_votes(self, latents, streams, firsts, counts):
        """Returns the votes of samples of several latents in one pass, of one replica.

        Args:
            latents: float32 tensor [requests, *latent shape].
            streams: uint64 tensor [requests, 3], see `random_streams.stream`.
            firsts: int64 tensor [requests], number of the first sample of each request.
            counts: int64 tensor [requests], how many of each, `batch_size` together at most.

        Returns:
            (votes, bool tensor [samples, classes], sample after sample and request after request;
            the request of each sample, int32 tensor [samples]).
        """
        shape = latents.shape[1:]
        owners = tf.repeat(tf.range(tf.shape(counts)[0]), counts)
        drawn, usable = random_streams.packed(self._noise.draw, streams, firsts, counts, shape)
        noisy = tf.gather(latents, owners) + drawn
        used = tf.shape(noisy)[0]
        padding = [[0, self._batch_size - used], *[[0, 0]] * shape.rank]
        rows = tf.ensure_shape(tf.pad(noisy, padding), [self._batch_size, *shape])
        return self.head_votes(rows)[:used] & usable[:, tf.newaxis], owners

    def shared_counts(self, latents, seed, purpose, samples, replica=0):
        """Counts the votes of noisy copies of several latents that share their noise.

        Args:
            latents: float32 tensor [images, *latent shape] of a static shape, `batch_size` images
                at most.
            seed: int64 scalar tensor.
            purpose: int64 scalar tensor, see `random_streams.shared_stream`.
            samples: int64 scalar tensor, noisy copies of each.
            replica: int or int32 scalar tensor, which of the replicas.

        Returns:
            int64 tensor [images, classes].
        """
        images = latents.shape[0]
        stream, each = random_streams.shared_stream(seed, purpose), self._batch_size // images

        def of_one_pass(first):
            drawn, wanted = self._draw(stream, first, samples, each)
            noisy = latents[:, tf.newaxis] + drawn[tf.newaxis]
            votes = self.head_votes(tf.reshape(noisy, [-1, *latents.shape[1:]]))
            votes = tf.reshape(votes, [images, each, self._num_classes])
            return tf.reduce_sum(tf.cast(votes & wanted[:, tf.newaxis], tf.int64), axis=1)

        _, counts = tf.while_loop(
            lambda first, counts: first < samples,
            lambda first, counts: (first + self._replicas * each, counts + of_one_pass(first)),
            self._start(replica, each, [images, self._num_classes]),
            parallel_iterations=1,
        )
        return counts

    def _head_votes(self, noisy):
        return votes_of(self._head(noisy, training=False))

    def _pass_votes(self, latent, stream, first, last):
        drawn, wanted = self._draw(stream, first, last, self._batch_size)
        return self.head_votes(latent + drawn) & wanted[:, tf.newaxis]

    def _counts_of_one_pass(self, latent, stream, first, last):
        drawn, wanted = self._draw(stream, first, last, self._batch_size)
        votes = self.head_votes(latent + drawn) & wanted[:, tf.newaxis]
        return tf.reduce_sum(tf.cast(votes, tf.int64), axis=0)

    def _draw(self, stream, first, last, samples):
        """Returns noise and which of it counts: usable, and before the sample `last`."""
        drawn, usable = self._noise.draw(stream, first, samples)
        return drawn, usable & (tf.range(samples, dtype=tf.int64) < last - first)

    def _start(self, replica, samples, shape):
        """Returns the first sample of a replica whose passes have so many, and counts of zero."""
        return tf.cast(replica, tf.int64) * samples, tf.zeros(shape, tf.int64)

    def _requests_of_replica(self, firsts, counts, replica):
        """Returns the part of the samples of a pass that a replica takes."""
        if self._replicas == 1:
            return firsts, counts
        size = self._batch_size
        begin = tf.cast(replica, tf.int64) * size - tf.cumsum(counts, exclusive=True)
        low = tf.clip_by_value(begin, 0, counts)
        high = tf.clip_by_value(begin + size, 0, counts)
        return firsts + low, high - low

"""Counting the votes of a head over noisy copies of a latent, in fixed-size chunks."""

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


def sample_votes(votes_of_rows, latent, draw, stream, first, last, chunk_size):
    """Returns the votes of samples `first` to `first + chunk_size - 1`, none from `last` on.

    The shape of the work is the same for every chunk, full or not.

    Args:
        votes_of_rows: callable from noisy latents float32 [chunk_size, *latent shape] to votes,
            see `votes_of`.
        latent: float32 tensor of one latent, of a static shape.
        draw: function of (stream, first, samples) that returns noise float32 [samples, *latent
            shape] and what of it is usable, bool [samples]; the rest counts for no class.
        stream: uint64 tensor [3], see `random_streams.stream`.
        first: int64 scalar tensor.
        last: int64 scalar tensor.
        chunk_size: int.

    Returns:
        bool tensor [chunk_size, classes] with at most one True in each row.
    """
    drawn, usable = draw(stream, first, chunk_size)
    wanted = usable & (tf.range(chunk_size, dtype=tf.int64) < last - first)
    return votes_of_rows(latent + drawn) & wanted[:, tf.newaxis]


def chunk_votes(votes_of_rows, latent, draw, stream, first, last, chunk_size):
    """Counts the votes of `sample_votes`: int64 tensor [classes]."""
    votes = sample_votes(votes_of_rows, latent, draw, stream, first, last, chunk_size)
    return tf.reduce_sum(tf.cast(votes, tf.int64), axis=0)


def shared_votes(votes_of_rows, latents, draw, stream, first, last, samples):
    """Counts the votes of samples `first` to `first + samples - 1` that several latents share.

    Args:
        votes_of_rows: callable from noisy latents float32 [images * samples, *latent shape] to
            votes, see `votes_of`.
        latents: float32 tensor [images, *latent shape] of a static shape.
        draw: as for `sample_votes`.
        stream: uint64 tensor [3], see `random_streams.shared_stream`.
        first: int64 scalar tensor.
        last: int64 scalar tensor; samples from here on do not count.
        samples: int.

    Returns:
        int64 tensor [images, classes].
    """
    drawn, usable = draw(stream, first, samples)
    noisy = latents[:, tf.newaxis] + drawn[tf.newaxis]
    votes = votes_of_rows(tf.reshape(noisy, [-1, *latents.shape[1:]]))
    votes = tf.reshape(votes, [latents.shape[0], samples, votes.shape[-1]])
    wanted = usable & (tf.range(samples, dtype=tf.int64) < last - first)
    return tf.reduce_sum(tf.cast(votes & wanted[:, tf.newaxis], tf.int64), axis=1)


def requests_of_replica(firsts, counts, chunk_size, replica):
    """Splits the samples of a pass on several replicas, `chunk_size` after `chunk_size` of them.

    Args:
        firsts: int64 tensor [requests], number of the first sample of each request.
        counts: int64 tensor [requests], how many of each.
        chunk_size: int.
        replica: int or int32 scalar tensor, which of the replicas.

    Returns:
        (firsts, counts) of that replica, int64 tensors [requests].
    """
    begin = tf.cast(replica, tf.int64) * chunk_size - tf.cumsum(counts, exclusive=True)
    low = tf.clip_by_value(begin, 0, counts)
    high = tf.clip_by_value(begin + chunk_size, 0, counts)
    return firsts + low, high - low


def packed_votes(votes_of_rows, latents, draw, streams, firsts, counts, chunk_size):
    """Counts the votes of samples of several latents in one pass of the head.

    The shape of the work is the same for every pass, full or not.

    Args:
        votes_of_rows: callable from noisy latents float32 [chunk_size, *latent shape] to votes,
            see `votes_of`.
        latents: float32 tensor [requests, *latent shape].
        draw: as for `sample_votes`.
        streams: uint64 tensor [requests, 3], see `random_streams.stream`.
        firsts: int64 tensor [requests], number of the first sample of each request.
        counts: int64 tensor [requests], how many of each, `chunk_size` together at most.
        chunk_size: int.

    Returns:
        int64 tensor [requests, classes].
    """
    shape = latents.shape[1:]
    owners = tf.repeat(tf.range(tf.shape(counts)[0]), counts)
    drawn, usable = random_streams.packed(draw, streams, firsts, counts, shape)
    noisy = tf.gather(latents, owners) + drawn
    used = tf.shape(noisy)[0]
    padding = [[0, chunk_size - used], *[[0, 0]] * shape.rank]
    votes = votes_of_rows(tf.ensure_shape(tf.pad(noisy, padding), [chunk_size, *shape]))
    votes = votes[:used] & usable[:, tf.newaxis]
    return tf.math.unsorted_segment_sum(tf.cast(votes, tf.int64), owners, tf.shape(counts)[0])


def count_votes(count_chunk, samples, chunk_size, shape, replica=0, replicas=1):
    """Adds up the votes of a replica's chunks of samples 0 to `samples - 1`, one after the other.

    The memory does not depend on the number of samples.

    Args:
        count_chunk: callable (first, last) -> int64 [*shape], the votes of the samples from `first`
            that one chunk has room for, without those from `last` on.
        samples: int64 scalar tensor.
        chunk_size: int, samples in one chunk.
        shape: list of ints, the shape of the counts: [classes], or [images, classes].
        replica: int or int32 scalar tensor, which of the replicas.
        replicas: int; every one of them counts every so many'th chunk.

    Returns:
        int64 tensor [*shape].
    """
    samples = tf.cast(samples, tf.int64)
    _, counts = tf.while_loop(
        lambda first, counts: first < samples,
        lambda first, counts: (
            first + replicas * chunk_size,
            counts + count_chunk(first, samples),
        ),
        (tf.cast(replica, tf.int64) * chunk_size, tf.zeros(shape, tf.int64)),
        # One chunk at a time, or the memory would grow.
        parallel_iterations=1,
    )
    return counts

"""Reproducible Gaussian noise: every noisy sample has one place in one random stream.

A stream belongs to a seed, an image (by its content) and a purpose. Sample i of a stream is the
same whatever is drawn with it, before it or after it, so that counts do not depend on the order of
the images, on how many samples a pass of the head takes, or on a restart.

The random integers are the same on every device, compiled or not. The normal numbers made from them
may differ in their last bit from one kind of processor or compiler to another.
"""

import math

import numpy as np
import tensorflow as tf

SELECTION = 0
ESTIMATION = 1
PREDICTION = 2
PILOT = 3
ATTACK = 4
# Added to a purpose where images share their noise.
_SHARED = 16

_PHILOX = 1
# Philox makes four 32-bit integers for each value of its counter.
_INTEGERS_PER_COUNT = 4
# Every sample takes whole vectors of 16 numbers for each half of the Box-Muller transform: the
# last, incomplete vector of a tensor would be rounded by other code than the rest.
_INTEGERS_PER_BLOCK = 32


def stream(seed, image, purpose):
    """Returns the random stream of one image for one purpose.

    To be called outside of XLA, which would derive another stream.

    Args:
        seed: int64 scalar tensor or int, the user's seed.
        image: float32 tensor of one image with pixels of at least 0. Its content decides, not its
            place in a data set.
        purpose: `SELECTION`, `ESTIMATION`, `PREDICTION`, `PILOT` or `ATTACK`. Their streams are
            disjoint, which the validity of a certificate rests on.

    Returns:
        uint64 tensor [3]: the key of the generator and the start of its 128-bit counter.
    """
    # The absolute value gives the pixels 0.0 and -0.0 one bit pattern, because they are equal.
    fingerprint = tf.bitcast(tf.fingerprint(tf.abs(image)[tf.newaxis])[0], tf.int64)
    seeds = tf.random.experimental.stateless_fold_in(
        tf.stack([tf.cast(seed, tf.int64), fingerprint]), tf.cast(purpose, tf.int64), alg="philox"
    )
    start = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seeds)
    return tf.concat([start.key, start.counter], axis=0)


def shared_stream(seed, purpose):
    """Returns the random stream that all images share for one purpose, where they share noise.

    It is disjoint from the streams of single images for other purposes; arguments as for `stream`.
    """
    return stream(seed, tf.zeros([1]), tf.cast(purpose, tf.int64) + _SHARED)


def packed(draw, streams, firsts, counts, shape):
    """Draws samples of several streams, one after the other.

    Args:
        draw: function of (stream, first, samples) that returns noise float32 [samples, *shape] and
            what of it is usable, bool [samples].
        streams: uint64 tensor [requests, 3].
        firsts: int64 tensor [requests], number of the first sample of each request.
        counts: int64 tensor [requests], how many of each.
        shape: static shape of one sample.

    Returns:
        What `draw` returns, for all requests together.
    """
    requests = tf.shape(streams)[0]
    samples = tf.TensorArray(tf.float32, requests, infer_shape=False, element_shape=[None, *shape])
    usable = tf.TensorArray(tf.bool, requests, infer_shape=False, element_shape=[None])

    def one_request(index, samples, usable):
        drawn, fit = draw(streams[index], firsts[index], counts[index])
        return index + 1, samples.write(index, drawn), usable.write(index, fit)

    _, samples, usable = tf.while_loop(
        lambda index, *_: index < requests,
        one_request,
        (0, samples, usable),
        parallel_iterations=1,
    )
    return samples.concat(), usable.concat()


def uniform_pairs(stream, first, samples, size):
    """Returns two random integers of 32 bits for each value of samples of a stream.

    Args:
        stream: uint64 tensor [3], see `stream`.
        first: int64 scalar tensor, number of the first sample.
        samples: int or int64 scalar tensor, how many.
        size: int, values of one sample.

    Returns:
        Two uint32 tensors [samples, size].
    """
    # Whole values of the counter for every sample.
    integers = -(-2 * size // _INTEGERS_PER_COUNT) * _INTEGERS_PER_COUNT
    bits = _uniform_integers(stream, first, samples, integers)
    return bits[:, :size], bits[:, size : 2 * size]


def _uniform_integers(stream, first, samples, integers):
    # The low word of the counter starts at zero and never comes near its end.
    offset = tf.cast(tf.cast(first, tf.int64) * (integers // _INTEGERS_PER_COUNT), tf.uint64)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[samples, integers],
        key=stream[:1],
        counter=tf.stack([stream[1] + offset, stream[2]]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )


def standard_normal(stream, first, samples, shape):
    """Returns samples `first` to `first + samples - 1` of a stream.

    Box and Muller (1958), from 32-bit integers: numbers up to 6.7 in size occur.

    Args:
        stream: uint64 tensor [3], see `stream`.
        first: int64 scalar tensor, number of the first sample.
        samples: int or int64 scalar tensor, how many.
        shape: static shape of one sample.

    Returns:
        float32 tensor [samples, *shape] of independent standard normal numbers.
    """
    size = math.prod(shape)
    integers = -(-size // _INTEGERS_PER_BLOCK) * _INTEGERS_PER_BLOCK
    bits = _uniform_integers(stream, first, samples, integers)
    lengths, angles = tf.split(tf.cast(bits, tf.float32), 2, axis=1)
    # Half a unit keeps the logarithm finite.
    lengths = tf.sqrt(-2.0 * tf.math.log((lengths + 0.5) * np.float32(2.0**-32)))
    angles *= np.float32(2 * np.pi * 2.0**-32)
    normal = tf.concat([lengths * tf.cos(angles), lengths * tf.sin(angles)], axis=1)
    return tf.reshape(normal[:, :size], [samples, *shape])

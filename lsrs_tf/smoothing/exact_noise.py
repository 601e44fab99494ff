import math

import numpy as np
import tensorflow as tf

from lsrs_tf.smoothing import noise

# Rounding of all latents together may cost this much radius in the latent; the step of the grid is
# the largest power of two with which it does not.
_GRID_LOSS = 0.004
# What the encoder's own float64 arithmetic is allowed to be off, in units of the latent, for each
# unit of its Lipschitz bound: some 10^5 times what it is measured to be.
_ENCODER_ERROR = 1e-6
# Bits of the uniform integers that choose a tail probability.
_TAIL_BITS = 52
# Relative error of TensorFlow's ndtri in float64 and of the products after it; they are accurate to
# a few 1e-16.
_QUANTILE_ERROR = 2e-14
# Integers below this have intervals of tail probabilities that are too wide to bound.
_SMALLEST_TAIL = 1024
# The largest quantile that can occur: ndtri(2^-53) is -8.21.
_LARGEST_QUANTILE = 8.3


class ExactNoise:
    """Gaussian noise rounded to a grid, with exactly the probabilities that a proof needs.

    Let h be the head as it is computed, a function of float32 latents on the grid of step D, and
    round(z) the nearest point of the grid. The classifier h(round(z + e)), with real Gaussian noise
    e of standard deviation sigma, is an honest base classifier on all real latents, so that the
    radius R_z = sigma ndtri(p) of Cohen et al. (2019) holds for it without any floating point. For
    z on the grid round(z + e) = z + round(e): it can be sampled by adding round(e), and the sum is
    exact in float32 as long as all numbers are multiples of D below 2^24 D.

    round(e) is sampled by inversion. A uniform integer V of 52 bits stands for all tail
    probabilities between V 2^-53 and (V + 1) 2^-53; with a sign that is a uniform number of
    infinitely many bits, of which 53 are known. The draw is used only if all these give the same
    point of the grid, with an allowance for the error of ndtri. From the middle t of the interval
    to its ends the quantile x changes by at most 1.1 2^-54 / (t max(x, 0.48)), because the density
    is at least t max(x, 0.48) (Mills' ratio for x > 0.48; its value at 0.48 for smaller x) and
    changes little over an interval that is short beside t. A sample with any ambiguous value counts
    for no class, so that the votes counted are at most those of the exact law.

    An image x has the latent round(E(x)), with E(x) the encoder as computed, off by at most e'. Two
    images have latents at most L |x - x'| + 2 e' + sqrt(d) D apart, d being the number of values.
    The certified radius is therefore (R_z - sqrt(d) D - 2 e') / L.

    What remains assumed: that the integers are random (they are Philox), that the head gives the
    same logits for the same latent, and that e' bounds the encoder's rounding.

    Args:
        sigma: float above 0, standard deviation.
        latent_shape: tuple, the static shape of one latent.

    Attributes:
        name: 'exact'.
        sigma: float, the standard deviation as the noise has it.
        step: float, the step D of the grid, a power of two.

    Raises:
        ValueError: if sigma is so large that float32 does not hold the sums exactly.
    """

    name = "exact"

    def __init__(self, sigma, latent_shape):
        self.sigma = float(np.float32(sigma))
        self._latent_shape = latent_shape
        self._size = math.prod(latent_shape)
        self.step = 2.0 ** math.floor(math.log2(_GRID_LOSS / math.sqrt(self._size)))
        # Latent and noise get one half each of what float32 holds exactly.
        self._limit = 2.0**23 * self.step
        if self.sigma * _LARGEST_QUANTILE >= self._limit:
            raise ValueError(
                f"noise='exact' holds latents of {self._size} values and their noise on a grid of "
                f"step {self.step}, in float32 exactly for sigma below "
                f"{self._limit / _LARGEST_QUANTILE:.3g}. Received: sigma={self.sigma}. Use "
                "noise='float32', or scale the latent down."
            )

    def prepared(self, latent):
        """Returns a float64 latent rounded to the grid, in float32, which holds it exactly.

        Values that float32 would not hold exactly become NaN, for which nobody votes.
        """
        rounded = tf.round(latent / self.step) * self.step
        outside = tf.abs(rounded) >= self._limit
        return tf.cast(tf.where(outside, np.float64("nan"), rounded), tf.float32)

    def draw(self, stream, first, samples):
        """Draws samples `first` to `first + samples - 1` of a stream.

        Args:
            stream: uint64 tensor [3], see `noise.stream`.
            first: int64 scalar tensor, number of the first sample.
            samples: int or int64 scalar tensor, how many.

        Returns:
            (noise float32 [samples, *latent shape], usable bool [samples]).
        """
        high, low = noise.uniform_pairs(stream, first, samples, self._size)
        tails = tf.bitwise.bitwise_or(
            tf.bitwise.left_shift(
                tf.cast(tf.bitwise.bitwise_and(high, np.uint32(2**31 - 1)), tf.int64),
                np.int64(_TAIL_BITS - 31),
            ),
            tf.cast(tf.bitwise.right_shift(low, np.uint32(63 - _TAIL_BITS)), tf.int64),
        )
        points, ambiguous = self._points(tails)
        negative = high >= np.uint32(2**31)
        values = tf.cast(tf.where(negative, -points, points) * self.step, tf.float32)
        usable = ~tf.reduce_any(ambiguous, axis=1)
        return tf.reshape(values, [samples, *self._latent_shape]), usable

    def _points(self, tails):
        """Returns which point of the grid a tail probability stands for, and whether it is unsure.

        Args:
            tails: int64 tensor of integers of 52 bits.

        Returns:
            (points float64, whole numbers of at least 0; ambiguous bool).
        """
        probabilities = (tf.cast(tails, tf.float64) + 0.5) * 2.0 ** -(_TAIL_BITS + 1)
        quantiles = -tf.math.ndtri(probabilities)
        scale = self.sigma / self.step
        values = scale * quantiles
        points = tf.round(values)
        density = probabilities * tf.maximum(quantiles, 0.48)
        unsure = _QUANTILE_ERROR * values + scale * 1.1 * 2.0 ** -(_TAIL_BITS + 2) / density
        ambiguous = (tf.abs(values - points) > 0.5 - unsure) | (tails < _SMALLEST_TAIL)
        return points, ambiguous

    def radius_loss(self, lipschitz):
        """Returns by how much a radius in the latent is lowered, rounded up.

        Args:
            lipschitz: float, upper bound of the encoder's Lipschitz constant.
        """
        grid = math.sqrt(self._size) * self.step
        return (grid + 2 * _ENCODER_ERROR * max(1.0, lipschitz)) * (1 + 1e-12)

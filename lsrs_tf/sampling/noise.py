"""The kinds of noise: customary in float32, and exact on a grid."""

import math

import numpy as np
import tensorflow as tf

from lsrs_tf.sampling import random_streams

# Rounding of all latents together may cost this much radius in the latent; the step of the grid is
# the largest power of two with which it does not.
_GRID_LOSS = 0.004
# Bits of the uniform integers that choose a tail probability.
_TAIL_BITS = 52
# Relative error of TensorFlow's ndtri in float64 and of the products after it; they are accurate to
# a few 1e-16. (XLA's ndtri is not; draws are not compiled.)
_QUANTILE_ERROR = 2e-14
# The change of a quantile over half an interval, relative to that at the density in its middle: 1.1
# would do.
_WIDENING = 4.0
# Integers below this have intervals of tail probabilities that are too wide to bound.
_SMALLEST_TAIL = 1024
# The largest quantile that can occur: ndtri(2^-53) is -8.21.
_LARGEST_QUANTILE = 8.3


class Float32Noise:
    """Gaussian noise in float32, as it is customary.

    Its rounding, that of the latent and that of their sum are not in the certificates.

    Args:
        sigma: float above 0, standard deviation.
        latent_shape: tuple, the static shape of one latent.

    Attributes:
        name: 'float32'.
        compiles: bool, whether draws may be compiled by XLA.
        few_latents: bool, whether the head is made one of few latents.
        sigma: float, the standard deviation as the noise has it.
    """

    name = "float32"
    compiles = True
    few_latents = False

    def __init__(self, sigma, latent_shape):
        self.sigma = float(np.float32(sigma))
        self._latent_shape = latent_shape

    def prepared(self, latent):
        """Returns a float64 latent as the float32 one that noise is added to."""
        return tf.cast(latent, tf.float32)

    def draw(self, stream, first, samples):
        """Draws samples `first` to `first + samples - 1` of a stream.

        Args:
            stream: uint64 tensor [3], see `random_streams.stream`.
            first: int64 scalar tensor, number of the first sample.
            samples: int or int64 scalar tensor, how many.

        Returns:
            (noise float32 [samples, *latent shape], usable bool [samples]).
        """
        normal = random_streams.standard_normal(stream, first, samples, self._latent_shape)
        return self.sigma * normal, tf.ones(tf.shape(normal)[:1], tf.bool)

    def radius_loss(self, encoder_error):
        """Returns by how much a radius in the latent is lowered: not at all."""
        return 0.0


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
    changes little over an interval that is short compared with t; four times as much is allowed
    for. A sample with any ambiguous value counts for no class, so that the votes counted are at
    most those of the exact law.

    An image x has the latent z = clip(round(E(x))), with E(x) the encoder as computed, off by at
    most e' (`LipschitzReport.rounding_error`). Clipping to what float32 holds is a projection and
    moves no two latents apart. So two images have latents at most L |x - x'| + 2 e' + sqrt(d) D
    apart, d being the number of values, and the certified radius is (R_z - sqrt(d) D - 2 e') / L.

    What remains assumed: that the integers are random (they are Philox), and that the head gives
    the same logits for the same latent, which holds on one device at one batch size.

    Args:
        sigma: float above 0, standard deviation.
        latent_shape: tuple, the static shape of one latent.

    Attributes:
        name: 'exact'.
        compiles: bool, whether draws may be compiled by XLA.
        few_latents: bool, whether the head is made one of few latents.
        sigma: float, the standard deviation as the noise has it.
        step: float, the step D of the grid, a power of two.

    Raises:
        ValueError: if sigma is so large that float32 does not hold the sums exactly.
    """

    name = "exact"
    compiles = False
    few_latents = False

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
        """Returns a float64 latent rounded to the grid, clipped to what float32 holds exactly."""
        rounded = tf.round(latent / self.step) * self.step
        largest = self._limit - self.step
        clipped = tf.clip_by_value(rounded, -largest, largest)
        return tf.cast(tf.where(tf.math.is_nan(latent), latent, clipped), tf.float32)

    def draw(self, stream, first, samples):
        """Draws samples `first` to `first + samples - 1` of a stream.

        Args:
            stream: uint64 tensor [3], see `random_streams.stream`.
            first: int64 scalar tensor, number of the first sample.
            samples: int or int64 scalar tensor, how many.

        Returns:
            (noise float32 [samples, *latent shape], usable bool [samples]).
        """
        high, low = random_streams.uniform_pairs(stream, first, samples, self._size)
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
        unsure = _QUANTILE_ERROR * values + scale * _WIDENING * 2.0 ** -(_TAIL_BITS + 2) / density
        ambiguous = (tf.abs(values - points) > 0.5 - unsure) | (tails < _SMALLEST_TAIL)
        return points, ambiguous

    def radius_loss(self, encoder_error):
        """Returns by how much a radius in the latent is lowered, rounded up.

        Args:
            encoder_error: float, bound of the encoder's rounding in the L2 norm.
        """
        return (math.sqrt(self._size) * self.step + 2 * encoder_error) * (1 + 1e-12)


class LogitNoise(Float32Noise):
    """Gaussian noise of the logits of a head that is one dense layer, whatever the latent's size.

    The noisy logits W'(z + e) + b have the law N(W'z + b, sigma^2 W'W). They are drawn from as many
    numbers as there are classes, or fewer, see `linear_head.with_few_latents`: W = QR in float64,
    the latent is Q'z, proven to be no further from those of other images than the encoder allows,
    and the noisy logits are R'(Q'z + e) + b. So a certificate is one of the smoothed classifier
    with the encoder Q'z and the head R'u + b, which is that of the model but for the rounding of Q
    and R: the covariance is checked to 1e-11 when the factors are made. The logits are computed in
    float64; the rounding of the noise, of Q'z to float32 and of their sum are not in the
    certificates, as with `Float32Noise`.
    """

    name = "logits"
    few_latents = True


NOISE_MODELS = {"float32": Float32Noise, "exact": ExactNoise, "logits": LogitNoise}


def noise_model(name):
    """Returns the class of a kind of noise, or raises if there is none of that name."""
    if not isinstance(name, str) or name not in NOISE_MODELS:
        raise ValueError(f"`noise` must be one of {', '.join(NOISE_MODELS)}. Received: {name!r}")
    return NOISE_MODELS[name]

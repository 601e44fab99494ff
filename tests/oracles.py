"""Independent measurements that share no code with the package: NumPy on impulse responses."""

import mpmath
import numpy as np


def jacobian(function, input_shape):
    """Returns the matrix of an affine map, from its answers to all unit impulses, in float64."""
    size = int(np.prod(input_shape))
    impulses = np.eye(size, dtype=np.float32).reshape(size, *input_shape)
    offset = np.asarray(function(np.zeros((1, *input_shape), np.float32)), np.float64)
    answers = np.concatenate(
        [np.asarray(function(impulses[i : i + 64]), np.float64) for i in range(0, size, 64)]
    )
    return (answers - offset).reshape(size, -1).T


def singular_values(function, input_shape):
    """Returns all singular values of an affine map."""
    return np.linalg.svd(jacobian(function, input_shape), compute_uv=False)


def split(matrices):
    """Returns complex matrices [..., rows, columns] with the real parts above the imaginary."""
    return np.concatenate([matrices.real, matrices.imag], axis=-2)


def joined(stacked):
    """Inverts `split`."""
    real, imaginary = np.split(np.asarray(stacked), 2, axis=-2)
    return real + 1j * imaginary


def circular_convolution(images, kernel):
    """Convolves images [batch, h, w, c] circularly with a centred kernel, by definition."""
    kernel_height, kernel_width, _, filters = kernel.shape
    result = np.zeros((*images.shape[:3], filters))
    for row in range(kernel_height):
        for column in range(kernel_width):
            shift = (row - (kernel_height - 1) // 2, column - (kernel_width - 1) // 2)
            result += np.roll(images, shift, axis=(1, 2)) @ kernel[row, column]
    return result


def binomial_tail(count, n, p):
    """Returns P(at least `count` hits in n trials of probability p) to 30 digits."""
    mpmath.mp.dps = 40
    p = mpmath.mpf(p)
    log_first = (
        mpmath.loggamma(n + 1)
        - mpmath.loggamma(count + 1)
        - mpmath.loggamma(n - count + 1)
        + count * mpmath.log(p)
        + (n - count) * mpmath.log(1 - p)
    )
    total = term = mpmath.mpf(1)
    odds = p / (1 - p)
    for k in range(count, n):
        term *= odds * (n - k) / (k + 1)
        total += term
        # Beyond the mean the terms fall ever faster.
        if k > n * p and term < total * mpmath.mpf(10) ** -32:
            break
    return mpmath.exp(log_first) * total


def log_binomial_tail(count, n, p):
    """Returns log P(at least `count` hits in n trials), for count > n p, to 25 digits.

    The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method: for
    any n in a few hundred steps, where the sum of the terms would take millions.
    """
    mpmath.mp.dps = 40
    a, b, p = mpmath.mpf(count), mpmath.mpf(n - count + 1), mpmath.mpf(p)
    fraction, c, d = mpmath.mpf(1), mpmath.mpf(1), mpmath.mpf(0)
    for step in range(1, 100_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * p / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * p / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        fraction *= c * d
        if abs(c * d - 1) < mpmath.mpf(10) ** -27:
            break
    log_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
    return (
        a * mpmath.log(p) + b * mpmath.log(1 - p) - mpmath.log(a) - log_beta - mpmath.log(fraction)
    )

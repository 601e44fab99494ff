"""Models whose smoothed classifier is known exactly."""

import keras
import numpy as np
import scipy.stats

from lsrs_tf import models


def threshold_model(threshold, sigma, num_classes=2):
    """Returns a model that says class 1 exactly if its one noisy pixel exceeds the threshold.

    For a pixel x the probability of class 1 is ndtr((x - threshold) / sigma), and the distance to
    the boundary of the smoothed classifier is |x - threshold|: the certificate is tight.
    """
    images = keras.Input((1, 1, 1))
    encoder = keras.Model(images, keras.layers.Identity()(images))
    latents = keras.Input((1, 1, 1))
    logits = keras.layers.Dense(num_classes)(keras.layers.Flatten()(latents))
    head = keras.Model(latents, logits)
    kernel = np.zeros((1, num_classes))
    bias = np.full(num_classes, -1e6)
    kernel[0, 1], bias[:2] = 1.0, (0.0, -threshold)
    head.layers[-1].set_weights([kernel, bias])
    return models.LatentSmoothingModel(encoder, head, sigma)


class _Undecided(keras.layers.Layer):
    """Maps z to the logits of three classes: 0 wins above a threshold, no class below it."""

    def __init__(self, threshold, kind, **kwargs):
        super().__init__(**kwargs)
        self._threshold = threshold
        self._kind = kind

    def call(self, inputs):
        above = inputs > self._threshold
        if self._kind == "tie":
            return keras.ops.where(above, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]])
        silent = np.nan if self._kind == "nan" else np.inf
        return keras.ops.where(above, [[1.0, 0.0, 0.0]], [[silent, 0.0, 0.0]])


def silent_model(threshold, sigma, kind="tie"):
    """Returns a model of three classes whose samples vote for class 0, or for none.

    For a pixel x a sample votes with the probability ndtr((x - threshold) / sigma). The others have
    a tie between classes 1 and 2 (kind 'tie'), or a logit that is 'nan' or 'inf'.
    """
    images = keras.Input((1, 1, 1))
    encoder = keras.Model(images, keras.layers.Identity()(images))
    head = keras.Sequential(
        [keras.Input((1, 1, 1)), keras.layers.Flatten(), _Undecided(threshold, kind)]
    )
    return models.LatentSmoothingModel(encoder, head, sigma)


def pixel(value):
    """Returns one image of one pixel."""
    return np.full((1, 1, 1), value, np.float32)


def probability(value, threshold, sigma):
    """Returns the exact probability of class 1."""
    return float(scipy.stats.norm.cdf((np.float32(value) - threshold) / sigma))

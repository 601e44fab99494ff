"""Small models whose nearest image of another class is known, or that fail in a known way."""

import keras
import numpy as np

from lsrs_tf import models

SHAPE = (4, 4, 1)


def model_of_head(*layers_of_head, shape=SHAPE, sigma=0.25):
    """Returns a model with an identity as encoder."""
    encoder = keras.Sequential([keras.Input(shape), keras.layers.Identity()])
    head = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *layers_of_head])
    return models.LatentSmoothingModel(encoder, head, sigma)


def linear_model(num_classes=2, seed=1):
    """Returns (model, weights, biases) of a linear classifier with boundaries in mid-gray."""
    model = model_of_head(keras.layers.Dense(num_classes))
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(16, num_classes)).astype(np.float32)
    biases = 0.1 * generator.normal(size=num_classes) - weights.sum(axis=0) / 2
    model.head.set_weights([weights, biases])
    return model, weights.astype(np.float64), biases.astype(np.float32).astype(np.float64)


def gray_images(count, seed=3):
    """Returns images far from the ends of the box."""
    return np.random.default_rng(seed).uniform(0.4, 0.6, (count, *SHAPE)).astype(np.float32)


def exact_distances(images, weights, biases):
    """Returns (labels, distances [images, classes] to the class of each), inf for the own class."""
    logits = images.reshape(len(images), -1).astype(np.float64) @ weights + biases
    labels = logits.argmax(axis=1)
    differences = weights[:, :, None] - weights[:, None, :]
    sizes = np.linalg.norm(differences, axis=0)[labels]
    margins = logits[np.arange(len(images)), labels][:, None] - logits
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = margins / sizes
    distances[np.arange(len(images)), labels] = np.inf
    return labels, distances


def dense_model(seed=0):
    """Returns a small network with a smooth head of ten units, and four classes."""
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(10, activation="tanh", kernel_initializer="glorot_normal")
    model = model_of_head(hidden, keras.layers.Dense(4))
    model.head.layers[1].kernel.assign(3 * model.head.layers[1].kernel)
    return model
